// The time series, with marks where something happened.
import { type DataFrame, FieldType, type TimeRange } from '@grafana/data';
import { TimeSeries, type UPlotConfigBuilder, useTheme2 } from '@grafana/ui';
import { useLayoutEffect } from 'react';

export interface Mark {
  at: number;
  color: string;
}

interface Props {
  panel: any;
  data: DataFrame[];
  width: number;
  height: number;
  range: TimeRange;
  marks: Mark[];
}

// gaps: where there is no number there is no line, as in Grafana's panel.
const gaps = (data: DataFrame[]) =>
  data.map((frame) => ({
    ...frame,
    fields: frame.fields.map((f) => (f.type === FieldType.number ? { ...f, values: f.values.map((v) => (Number.isFinite(v) ? v : null)) } : f)),
  }));

export function Lines({ panel, data, width, height, range, marks }: Props) {
  return (
    <TimeSeries frames={gaps(data)} timeRange={range} timeZone="utc" width={width} height={height} legend={panel.options.legend} options={panel.options}>
      {(config) => <Marks config={config} marks={marks} />}
    </TimeSeries>
  );
}

// Marks draws a dashed line with a triangle below for each, as Grafana does.
function Marks({ config, marks }: { config: UPlotConfigBuilder; marks: Mark[] }) {
  const theme = useTheme2();
  useLayoutEffect(() => {
    config.addHook('draw', (u: any) => {
      const { ctx, bbox } = u;
      ctx.save();
      for (const mark of marks) {
        const x = u.valToPos(mark.at, 'x', true);
        if (x < bbox.left || x > bbox.left + bbox.width) {
          continue;
        }
        const color = theme.visualization.getColorByName(mark.color);
        ctx.strokeStyle = ctx.fillStyle = color;
        ctx.lineWidth = devicePixelRatio;
        ctx.setLineDash([5, 5]);
        ctx.beginPath();
        ctx.moveTo(x, bbox.top);
        ctx.lineTo(x, bbox.top + bbox.height);
        ctx.stroke();
        const size = 4 * devicePixelRatio;
        ctx.beginPath();
        ctx.moveTo(x, bbox.top + bbox.height);
        ctx.lineTo(x - size, bbox.top + bbox.height + size * 1.5);
        ctx.lineTo(x + size, bbox.top + bbox.height + size * 1.5);
        ctx.fill();
      }
      ctx.restore();
    });
  }, [config, marks, theme]);
  return null;
}
