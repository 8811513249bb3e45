// State timeline and heatmap. Their panels are part of Grafana's application and in no package, so they are painted
// here, over Grafana's own plot, axes, scales, value mappings and legend.
import { type DataFrame, dateTimeFormat, getValueFormat, formattedValueToString, type GrafanaTheme2, type TimeRange } from '@grafana/data';
import { AxisPlacement, LegendDisplayMode, ScaleDirection, ScaleOrientation } from '@grafana/schema';
import { UPlotChart, UPlotConfigBuilder, useTheme2, VizLayout, VizLegend } from '@grafana/ui';
import { useMemo } from 'react';

interface Props {
  panel: any;
  data: DataFrame[];
  width: number;
  height: number;
  range: TimeRange;
}

// base is a plot with a time axis and rows by name.
function base(theme: GrafanaTheme2, range: TimeRange, rows: string[], labelWidth: number): UPlotConfigBuilder {
  const builder = new UPlotConfigBuilder('utc');
  builder.addScale({
    scaleKey: 'x', isTime: true, orientation: ScaleOrientation.Horizontal, direction: ScaleDirection.Right,
    range: () => [range.from.valueOf(), range.to.valueOf()],
  });
  builder.addAxis({ scaleKey: 'x', isTime: true, placement: AxisPlacement.Bottom, timeZone: 'utc', theme, grid: { show: true } });
  builder.addScale({
    scaleKey: 'y', orientation: ScaleOrientation.Vertical, direction: ScaleDirection.Up, range: () => [0, rows.length],
  });
  builder.addAxis({
    scaleKey: 'y', placement: AxisPlacement.Left, theme, size: labelWidth, grid: { show: false }, ticks: { show: false },
    splits: () => rows.map((_, i) => i + 0.5), values: () => rows,
  });
  builder.addSeries({ scaleKey: 'y', theme, pathBuilder: () => null, show: true } as any);
  builder.setCursor({ show: false });
  return builder;
}

function textWidth(texts: string[], font: string): number {
  const ctx = document.createElement('canvas').getContext('2d')!;
  ctx.font = font;
  return Math.max(...texts.map((t) => ctx.measureText(t).width));
}

export function Timeline({ panel, data, width, height, range }: Props) {
  const theme = useTheme2();
  const values = data.map((frame) => ({ time: frame.fields[0], value: frame.fields[1] })).reverse();
  const names = values.map(({ value }) => value.config.displayNameFromDS ?? value.name);
  const builder = useMemo(() => {
    const font = `12px ${theme.typography.fontFamily}`;
    const builder = base(theme, range, names, Math.min(width * 0.35, textWidth(names, font) + 20));
    builder.addHook('draw', (u: any) => {
      const { ctx } = u;
      const row = u.bbox.height / names.length;
      ctx.save();
      ctx.beginPath();
      ctx.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height);
      ctx.clip();
      values.forEach(({ time, value }, i) => {
        const tall = row * panel.options.rowHeight;
        const top = u.valToPos(i + 0.5, 'y', true) - tall / 2;
        const steps = value.values.length;
        for (let from = 0; from < steps; ) {
          const is = value.values[from];
          let to = from + 1;
          while (to < steps && value.values[to] === is) {
            to++;
          }
          if (is !== null) {
            const left = u.valToPos(time.values[from], 'x', true);
            const right = u.valToPos(to < steps ? time.values[to] : range.to.valueOf(), 'x', true);
            const shown = value.display!(is);
            ctx.globalAlpha = value.config.custom.fillOpacity / 100;
            ctx.fillStyle = shown.color;
            ctx.fillRect(left, top, Math.max(right - left, 1), tall);
            ctx.globalAlpha = 1;
            ctx.font = `${12 * devicePixelRatio}px ${theme.typography.fontFamily}`;
            if (ctx.measureText(shown.text).width + 10 < right - left && row > 14 * devicePixelRatio) {
              ctx.fillStyle = theme.colors.getContrastText(shown.color!);
              ctx.textBaseline = 'middle';
              ctx.textAlign = 'left';
              ctx.fillText(shown.text, Math.max(left, u.bbox.left) + 5 * devicePixelRatio, top + tall / 2);
            }
          }
          from = to;
        }
      });
      ctx.restore();
    });
    return builder;
  }, [data, theme, width]);
  const used = new Set(values.flatMap(({ value }) => value.values.filter((v) => v !== null)));
  const items = Object.entries<any>(panel.fieldConfig.defaults.mappings[0].options)
    .filter(([value]) => used.has(Number(value)))
    .map(([, m]) => ({ label: m.text, color: theme.visualization.getColorByName(m.color), yAxis: 1 }));
  return (
    <VizLayout width={width} height={height} legend={
      <VizLayout.Legend placement="bottom"><VizLegend items={items} placement="bottom" displayMode={LegendDisplayMode.List} /></VizLayout.Legend>
    }>
      {(w: number, h: number) => <UPlotChart config={builder} data={[values[0].time.values, values[0].value.values.map(() => null)] as any} width={w} height={h} />}
    </VizLayout>
  );
}

// The colours of the scheme YlOrRd, from few to many; in the dark theme Grafana turns it around, as here.
const scheme = ['#ffffcc', '#ffeda0', '#fed976', '#feb24c', '#fd8d3c', '#fc4e2a', '#e31a1c', '#bd0026', '#800026'];

export interface Exemplar {
  at: number;
  value: number;
}

export function Heatmap({ panel, data, width, height, range, exemplars }: Props & { exemplars: Exemplar[] }) {
  const theme = useTheme2();
  const colors = theme.isDark ? [...scheme].reverse() : scheme;
  const builder = useMemo(() => {
    const rows = data
      .map((frame) => ({ le: Number(frame.fields[1].config.displayNameFromDS!.replace('+Inf', 'Infinity')), time: frame.fields[0], value: frame.fields[1] }))
      .sort((a, b) => a.le - b.le);
    const seconds = getValueFormat(panel.options.yAxis.unit);
    const names = rows.map((r) => (r.le === Infinity ? '+Inf' : formattedValueToString(seconds(r.le))));
    // From the counts up to each bound to the counts between the bounds.
    const counts = rows.map((r, i) => r.value.values.map((v, j) => (v ?? 0) - (i ? (rows[i - 1].value.values[j] ?? 0) : 0)));
    const most = Math.max(1e-9, ...counts.flat());
    const builder = base(theme, range, names, 70);
    builder.addHook('draw', (u: any) => {
      const { ctx } = u;
      ctx.save();
      ctx.beginPath();
      ctx.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height);
      ctx.clip();
      rows.forEach((r, i) => {
        const top = u.valToPos(i + 1, 'y', true);
        const tall = u.valToPos(i, 'y', true) - top;
        counts[i].forEach((n, j) => {
          if (n <= panel.options.filterValues.le) {
            return;
          }
          // What a step counts was in the time before it.
          const step = r.time.config.interval!;
          const left = u.valToPos(r.time.values[j] - step, 'x', true);
          const right = u.valToPos(r.time.values[j], 'x', true);
          const share = Math.pow(n / most, panel.options.color.exponent);
          ctx.fillStyle = colors[Math.min(colors.length - 1, Math.floor(share * colors.length))];
          ctx.fillRect(left, top + 1, right - left - 1, tall - 2);
        });
      });
      ctx.fillStyle = panel.options.exemplars.color;
      for (const e of exemplars) {
        const row = rows.findIndex((r) => e.value <= r.le);
        const under = row ? rows[row - 1].le : 0;
        const within = rows[row].le === Infinity ? 0.5 : (e.value - under) / (rows[row].le - under);
        const x = u.valToPos(e.at, 'x', true);
        const y = u.valToPos(row + within, 'y', true);
        const size = 4 * devicePixelRatio;
        ctx.beginPath();
        ctx.moveTo(x, y - size);
        ctx.lineTo(x + size, y);
        ctx.lineTo(x, y + size);
        ctx.lineTo(x - size, y);
        ctx.fill();
      }
      ctx.restore();
    });
    return { builder, most };
  }, [data, theme, width]);
  const times = data[0].fields[0].values;
  return (
    <VizLayout width={width} height={height} legend={
      <VizLayout.Legend placement="bottom">
        <div style={{ display: 'flex', alignItems: 'center', gap: 8, padding: '0 8px', fontSize: 12, color: theme.colors.text.secondary }}>
          <span>1</span>
          <div style={{ height: 8, width: 160, background: `linear-gradient(90deg, ${colors.join(', ')})` }} />
          <span>{Math.max(1, Math.round(builder.most))} recoveries a step</span>
          <span style={{ color: panel.options.exemplars.color, fontSize: 14 }}>◆</span><span>exemplar, opens its trace</span>
        </div>
      </VizLayout.Legend>
    }>
      {(w: number, h: number) => <UPlotChart config={builder.builder} data={[times, times.map(() => null)] as any} width={w} height={h} />}
    </VizLayout>
  );
}

// Log lines. Grafana's list of them is part of its application, too.
export function Logs({ data, height }: Props) {
  const theme = useTheme2();
  const [labels, time, line] = data[0].fields;
  const level: Record<string, string> = { WARN: theme.visualization.getColorByName('yellow'), INFO: theme.visualization.getColorByName('green') };
  return (
    <div style={{ height, overflow: 'hidden', fontFamily: theme.typography.fontFamilyMonospace, fontSize: 12, lineHeight: '20px' }}>
      {line.values.slice(0, Math.floor(height / 20)).map((text: string, i: number) => (
        <div key={i} style={{ display: 'flex', gap: 10, whiteSpace: 'nowrap', borderLeft: `3px solid ${level[labels.values[i].severity_text]}`, paddingLeft: 6, marginBottom: 1 }}>
          <span style={{ color: theme.colors.text.secondary }}>{dateTimeFormat(time.values[i], { timeZone: 'utc', format: 'YYYY-MM-DD HH:mm:ss.SSS' })}</span>
          <span>{text}</span>
        </div>
      ))}
    </div>
  );
}
