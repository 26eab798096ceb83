import { analyzeTrain } from '/work/main/dist/tools/driver/analysis.js';
import { asTrained } from '/work/main/dist/tools/driver/compact.js';
import { openProject } from '/work/main/dist/tools/driver/project.js';
import { measureKernels } from '/work/main/dist/tools/driver/measure-kernels.js';
import { kernelCycles } from '/work/main/dist/compiler/analyze/cycles.js';
import { schedule } from '/work/main/dist/compiler/schedule/schedule.js';
import { hostCapabilities } from '/work/main/dist/tools/driver/machine.js';
const caps = await hostCapabilities(2);
const only = process.argv.slice(2);
for (const [f,n] of [['digits','reader'],['mnist','mlp'],['finetune','pretrain'],['convnet','convnet'],['sequence','adder'],['chars','gpt']]) {
  if(only.length&&!only.includes(n)) continue;
  const p = await openProject(`examples/${f}.model`, {data:['/work/shared/data/mnist','/work/shared/data/shakespeare']});
  const r = asTrained(await p.train(n));
  const a = await analyzeTrain(r,{threads:2, predict:false});
  const mm = await measureKernels(p, r, a.step.stages, 2);
  console.log(n, 'whole', mm.whole*1e6);
  const {buffers}=a.step.stages.loop;
  for (const k of a.step.analysis.kernels){ const x=mm.kernels.get(k.kernel); if(x.together>1||x.seconds<1.5e-5) continue;
   for (const seg of k.kernel.segments){
    const t=schedule({name:'x',buffers,steps:[{...k.kernel,segments:[seg]}]},caps).steps;
    const c=t.map(s=>kernelCycles(s.kernel)).reduce((s,c)=>({m:s.m+c.multiply,f:s.f+c.functions,r:s.r+c.rest}),{m:0,f:0,r:0});
    console.log('  ',k.kernel.name.padEnd(5),seg.kind.padEnd(12),'m',(c.m/1e3).toFixed(0).padStart(6),'r',(c.r/1e3).toFixed(0).padStart(6),'f',(c.f/1e3).toFixed(0).padStart(6),'grid',t.map(s=>s.kernel.grid).join(','),'meas',(x.seconds*1e6).toFixed(0),'m/7.75',(c.m/7750).toFixed(0),'r/7.75',(c.r/7750).toFixed(0), 'bytes',((k.cost.bytesRead+k.cost.bytesWritten)/1e6).toFixed(2)) }}
}
