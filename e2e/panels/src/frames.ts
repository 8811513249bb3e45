// From what Prometheus and Loki answer to Grafana's data frames, as its data sources make them.
import { createDataFrame, type DataFrame, FieldType } from '@grafana/data';

export interface Target {
  refId: string;
  expr: string;
  legendFormat: string;
  format?: string;
  instant?: boolean;
  datasource: { type: string; uid: string };
}

export interface Answer {
  query: string;
  step: number;
  data: any;
  exemplars?: any;
}

type Labels = Record<string, string>;

// legend is the name of a series: its legend format with the labels put in, or its labels.
export function legend(format: string, labels: Labels): string {
  if (format) {
    return format.replace(/\{\{\s*(.+?)\s*\}\}/g, (_, name) => labels[name] ?? '');
  }
  return '{' + Object.entries(labels).map(([k, v]) => `${k}="${v}"`).join(', ') + '}';
}

const number = (text: string) => (text === 'NaN' ? NaN : Number(text));

// series makes a frame of each series. Steps without a sample are null, so that lines have gaps there.
function series(target: Target, answer: Answer, from: number, to: number): DataFrame[] {
  const step = answer.step * 1000;
  const times: number[] = [];
  for (let t = Math.floor(from / step) * step; t <= to; t += step) {
    times.push(t);
  }
  return answer.data.result.map((one: any) => {
    const points: Array<[number, string]> = one.values ?? [one.value];
    const at = new Map(points.map(([t, v]) => [Math.round(t * 1000), number(v)]));
    const axis = one.values ? times : [...at.keys()];
    return createDataFrame({
      refId: target.refId,
      fields: [
        { name: 'Time', type: FieldType.time, values: axis, config: { interval: step } },
        {
          name: 'Value',
          type: FieldType.number,
          labels: one.metric,
          values: axis.map((t) => at.get(t) ?? null), // NaN stays: a stat has a text for it
          config: { displayNameFromDS: legend(target.legendFormat, one.metric) },
        },
      ],
    });
  });
}

// rows makes one frame of an instant query: a column a label, and one of the values.
function rows(target: Target, answer: Answer): DataFrame {
  const result: any[] = answer.data.result;
  const names = [...new Set(result.flatMap((one) => Object.keys(one.metric)))].sort();
  return createDataFrame({
    refId: target.refId,
    fields: [
      { name: 'Time', type: FieldType.time, values: result.map((one) => one.value[0] * 1000) },
      ...names.map((name) => ({ name, type: FieldType.string, values: result.map((one) => one.metric[name] ?? '') })),
      { name: 'Value #' + target.refId, type: FieldType.number, values: result.map((one) => number(one.value[1])) },
    ],
  });
}

// lines makes one frame of log lines, the newest first.
function lines(target: Target, answer: Answer): DataFrame {
  const all: Array<{ at: number; line: string; labels: Labels }> = [];
  for (const stream of answer.data.result) {
    for (const [ns, line] of stream.values) {
      all.push({ at: Number(ns.slice(0, -6)), line, labels: stream.stream });
    }
  }
  all.sort((a, b) => b.at - a.at);
  return createDataFrame({
    refId: target.refId,
    fields: [
      { name: 'labels', type: FieldType.other, values: all.map((l) => l.labels) },
      { name: 'Time', type: FieldType.time, values: all.map((l) => l.at) },
      { name: 'Line', type: FieldType.string, values: all.map((l) => l.line) },
    ],
  });
}

export function frames(target: Target, answer: Answer, from: number, to: number): DataFrame[] {
  if (answer.data.resultType === 'streams') {
    return [lines(target, answer)];
  }
  if (target.format === 'table') {
    return [rows(target, answer)];
  }
  return series(target, answer, from, to);
}
