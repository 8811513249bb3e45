// What Grafana's application sets up before it draws a panel: the registries of field options and of transformations.
import {
  applyFieldOverrides,
  cacheFieldDisplayNames,
  type DataFrame,
  type DataTransformerConfig,
  FieldConfigOptionsRegistry,
  FieldType,
  getDisplayProcessor,
  type GrafanaTheme2,
  identityOverrideProcessor,
  standardTransformers,
  standardTransformersRegistry,
  transformDataFrame,
} from '@grafana/data';
import { map, type Observable } from 'rxjs';

const option = (path: string, isCustom: boolean) =>
  ({
    id: isCustom ? 'custom.' + path : path,
    path,
    name: path,
    isCustom,
    editor: () => null,
    override: () => null,
    process: identityOverrideProcessor,
    shouldApply: () => true,
    settings: {},
  }) as any;

const registry = new FieldConfigOptionsRegistry(() => [
  ...['unit', 'min', 'max', 'decimals', 'displayName', 'noValue', 'color', 'mappings', 'thresholds', 'links'].map((path) => option(path, false)),
  ...['cellOptions', 'width', 'minWidth', 'barWidthFactor', 'align', 'inspect', 'filterable', 'drawStyle', 'fillOpacity', 'lineWidth', 'lineInterpolation', 'gradientMode',
    'showPoints', 'pointSize', 'spanNulls', 'insertNulls', 'barAlignment', 'stacking', 'axisPlacement', 'axisLabel', 'axisColorMode',
    'axisBorderShow', 'axisSoftMax', 'axisCenteredZero', 'scaleDistribution', 'thresholdsStyle', 'hideFrom'].map((path) => option(path, true)),
]);

// extractFields is a transformation that Grafana's application brings, and no package: the labels of log lines
// become columns.
const extractFields = {
  id: 'extractFields',
  name: 'Extract fields',
  operator: (options: { source: string }) => (source: Observable<DataFrame[]>) =>
    source.pipe(
      map((data) =>
        data.map((frame) => {
          const from = frame.fields.find((f) => f.name === options.source)!;
          const names = [...new Set(from.values.flatMap((labels) => Object.keys(labels)))];
          const fields = names.map((name) => {
            const values = from.values.map((labels) => labels[name]);
            const numeric = name !== "error_type" && values.every((v) => v === undefined || /^-?[0-9.]+$/.test(v)) && !/_id$/.test(name);
            return {
              name,
              config: {},
              type: numeric ? FieldType.number : FieldType.string,
              values: numeric ? values.map((v) => (v === undefined ? null : Number(v))) : values,
            };
          });
          return { ...frame, fields: [...frame.fields, ...fields] };
        })
      )
    ),
};

standardTransformersRegistry.setInit(() =>
  [standardTransformers.mergeTransformer, standardTransformers.filterFieldsByNameTransformer, standardTransformers.organizeFieldsTransformer, extractFields].map(
    (t) => ({ id: t.id, name: t.name, transformation: async () => t, editor: () => null }) as any
  )
);

export function transform(data: DataFrame[], steps: DataTransformerConfig[]): Promise<DataFrame[]> {
  return new Promise((resolve, reject) => transformDataFrame(steps, data).subscribe({ next: resolve, error: reject }));
}

export function configure(data: DataFrame[], fieldConfig: any, theme: GrafanaTheme2): DataFrame[] {
  const configured = applyFieldOverrides({
    data,
    fieldConfig: { defaults: structuredClone(fieldConfig.defaults), overrides: fieldConfig.overrides },
    fieldConfigRegistry: registry,
    replaceVariables: (text: string) => text,
    theme,
    timeZone: 'utc',
  });
  for (const frame of configured) {
    for (const field of frame.fields) {
      field.display ??= getDisplayProcessor({ field, theme, timeZone: 'utc' });
    }
  }
  cacheFieldDisplayNames(configured);
  return configured;
}
