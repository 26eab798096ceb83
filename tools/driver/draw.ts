/** Dot text to SVG, through Graphviz compiled to WebAssembly, which is loaded when a picture is first asked for. */
import { UserError } from '../../runtime/errors.ts';

export async function drawSvg(dot: string): Promise<string> {
  const { instance } = await import('@viz-js/viz');
  const result = (await instance()).render(dot, { format: 'svg' });
  if (result.status === 'failure')
    throw new UserError(
      'no-picture',
      `Graphviz could not draw this: ${result.errors.map(({ message }) => message).join('; ')}.`,
      'Try --format dot and another tool.',
    );
  return result.output.slice(result.output.indexOf('<svg'));
}
