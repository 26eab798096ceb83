/** Training that outlives its device: where that is lost, it goes on from the run's last checkpoint on one that is opened anew. */
import { DeviceLost, type Programs } from './program.ts';
import type { TrainOptions, TrainResult } from './train-options.ts';
import { train } from './trainer.ts';

export interface SurvivingOptions extends TrainOptions {
  /** The programs on a device that it opens. */
  readonly reopen: () => Promise<Programs>;
  /** Told, in a sentence, that the device was lost and from where it goes on. */
  readonly onLost: (text: string) => void;
}

/** A device that is lost so often without a checkpoint between will be lost again. */
const mostLosses = 5;

/** As `train`, but closes the sessions, and throws DeviceLost only where the device is lost again and again. */
export async function trainThroughLosses({ reopen, onLost, ...options }: SurvivingOptions): Promise<TrainResult> {
  let { resume, programs } = options;
  let run = resume;
  let losses = 0;
  const onEvent: TrainOptions['onEvent'] = (event) => {
    if (event.event === 'start') run = event.run;
    if (event.event === 'save' && event.file.startsWith('checkpoints/')) {
      resume = run;
      losses = 0;
    }
    return options.onEvent?.(event);
  };
  for (;;) {
    try {
      return await train({ ...options, programs, onEvent, ...(resume !== undefined && { resume }) });
    } catch (error) {
      if (!(error instanceof DeviceLost) || ++losses > mostLosses) throw error;
      const from = resume === undefined ? 'beginning again' : `going on from the last checkpoint of ${resume}`;
      onLost(`${error.message} — ${from}`);
    } finally {
      programs.session.close();
    }
    programs = await reopen();
  }
}
