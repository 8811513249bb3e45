// Draws a dashboard from its JSON and from the answers to its queries: window.draw(kept, theme).
import { createTheme, type DataFrame, dateTime, dateTimeFormat, ThemeContext, type TimeRange } from '@grafana/data';
import { GlobalStyles, Icon, PanelChrome } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';
import { flushSync } from 'react-dom';
import { createRoot } from 'react-dom/client';
import { configure, transform } from './config';
import { type Answer, frames } from './frames';
import { Lines, type Mark } from './lines';
import { type Exemplar, Heatmap, Logs, Timeline } from './painted';
import { Gauge, Stat } from './single';

interface Kept {
  dashboard: any;
  chosen: Record<string, string[]> | null;
  from: number;
  to: number;
  panels: Record<string, Record<string, Answer>>;
  annotations: Record<string, Answer>;
}

const column = 66; // pixels, as the steps of the queries were chosen for
const row = 30;
const gap = 8;

interface Drawn {
  panel: any;
  data: DataFrame[];
  exemplars: Exemplar[];
}

async function prepare(kept: Kept, theme: ReturnType<typeof createTheme>): Promise<Drawn[]> {
  return Promise.all(
    kept.dashboard.panels.map(async (panel: any) => {
      if (panel.type === 'row') {
        return { panel, data: [], exemplars: [] };
      }
      const answers = kept.panels[panel.id];
      let data = panel.targets.flatMap((target: any) => frames(target, answers[target.refId], kept.from, kept.to));
      data = await transform(data, panel.transformations ?? []);
      const exemplars = Object.values(answers).flatMap((a) => (a.exemplars ?? []).flatMap((s: any) =>
        s.exemplars.map((e: any) => ({ at: e.timestamp * 1000, value: Number(e.value) }))));
      return { panel, data: configure(data, panel.fieldConfig, theme), exemplars };
    })
  );
}

function Panel({ drawn, range, marks, width, height }: { drawn: Drawn; range: TimeRange; marks: Mark[]; width: number; height: number }) {
  const { panel, data, exemplars } = drawn;
  const props = { panel, data, width, height, range };
  if (data.length === 0 || data.every((f) => f.length === 0)) {
    return <div style={{ display: 'flex', width, height, alignItems: 'center', justifyContent: 'center' }}>No data</div>;
  }
  switch (panel.type) {
    case 'stat':
      return <Stat {...props} />;
    case 'bargauge':
      return <Gauge {...props} />;
    case 'timeseries':
      return <Lines {...props} marks={marks} />;
    case 'state-timeline':
      return <Timeline {...props} />;
    case 'heatmap':
      return <Heatmap {...props} exemplars={exemplars} />;
    case 'logs':
      return <Logs {...props} />;
    case 'table':
      return <TableNG data={data[0]} width={width} height={height} sortBy={panel.options.sortBy} sortByBehavior="initial" cellHeight={panel.options.cellHeight} />;
    default:
      throw new Error(`no way to draw a panel of type ${panel.type}`);
  }
}

function Head({ kept, theme }: { kept: Kept; theme: ReturnType<typeof createTheme> }) {
  const format = (at: number) => dateTimeFormat(at, { timeZone: 'utc', format: 'YYYY-MM-DD HH:mm:ss' });
  const box = { border: `1px solid ${theme.colors.border.medium}`, borderRadius: 2, padding: '4px 8px', background: theme.colors.background.primary };
  const name = { ...box, background: theme.colors.background.secondary, color: theme.colors.text.primary };
  return (
    <div style={{ fontSize: 12, color: theme.colors.text.secondary, display: 'flex', flexDirection: 'column', gap }}>
      <div style={{ display: 'flex', alignItems: 'center', gap }}>
        <span style={{ fontSize: 18, color: theme.colors.text.primary, marginRight: 'auto' }}>{kept.dashboard.title}</span>
        {kept.dashboard.links.map((l: any) => (
          <span key={l.title} style={box}><Icon name="apps" size="sm" /> {l.title}</span>
        ))}
        <span style={box}><Icon name="clock-nine" size="sm" /> {format(kept.from)} to {format(kept.to)} UTC</span>
      </div>
      <div style={{ display: 'flex', gap }}>
        {kept.dashboard.templating.list.map((v: any) => (
          <span key={v.name} style={{ display: 'flex' }}>
            <span style={name}>{v.label}</span><span style={box}>{v.type === 'datasource' ? v.query : (kept.chosen?.[v.name]?.join(' + ') ?? 'All')}</span>
          </span>
        ))}
      </div>
    </div>
  );
}

// What is painted on a canvas does not wait for its font.
async function loadFont() {
  const font = new FontFace('Inter', 'url(/public/fonts/inter/Inter-Regular.woff2)');
  document.fonts.add(await font.load());
}

async function draw(kept: Kept, mode: 'light' | 'dark') {
  await loadFont();
  const theme = createTheme({ colors: { mode } });
  const range: TimeRange = { from: dateTime(kept.from), to: dateTime(kept.to), raw: { from: 'now-1h', to: 'now' } };
  const marks: Mark[] = kept.dashboard.annotations.list
    .filter((a: any) => kept.annotations[a.name])
    .flatMap((a: any) => kept.annotations[a.name].data.result.flatMap((s: any) => s.values.map(([ns]: [string]) => ({ at: Number(ns.slice(0, -6)), color: a.iconColor }))));
  const all = await prepare(kept, theme);
  const top = 80;
  const bottom = Math.max(...all.map(({ panel: { gridPos: g } }) => g.y + g.h)) * (row + gap);
  document.body.style.margin = '0';
  const root = document.getElementById('root')!;
  root.style.cssText = `position: relative; width: ${24 * column + gap}px; height: ${top + bottom + gap}px; background: ${theme.colors.background.canvas}`;
  flushSync(() =>
    createRoot(root).render(
      <ThemeContext.Provider value={theme}>
        <GlobalStyles />
        <div style={{ position: 'absolute', left: gap, right: gap, top: gap }}><Head kept={kept} theme={theme} /></div>
        {all.map((drawn) => {
          const g = drawn.panel.gridPos;
          const place = { position: 'absolute' as const, left: gap + g.x * column, top: top + g.y * (row + gap), width: g.w * column - gap, height: g.h * (row + gap) - gap };
          return (
            <div key={drawn.panel.id} style={place} data-panel={drawn.panel.title}>
              {drawn.panel.type === 'row' ? (
                <div style={{ fontSize: 16, fontWeight: 500, paddingTop: 6, color: theme.colors.text.primary }}><Icon name="angle-down" /> {drawn.panel.title}</div>
              ) : (
                <PanelChrome title={drawn.panel.title} description={drawn.panel.description} width={place.width} height={place.height}>
                  {(width, height) => <Panel drawn={drawn} range={range} marks={marks} width={width} height={height} />}
                </PanelChrome>
              )}
            </div>
          );
        })}
      </ThemeContext.Provider>
    )
  );
  await document.fonts.ready;
}

(window as any).draw = draw;
