// Panels of single values: stat and bar gauge.
import { type DataFrame, type FieldDisplay, getDisplayValueAlignmentFactors, getFieldDisplayValues, VizOrientation } from '@grafana/data';
import { BarGauge, BigValue, useTheme2, VizRepeater } from '@grafana/ui';

interface Props {
  panel: any;
  data: DataFrame[];
  width: number;
  height: number;
}

function useValues({ panel, data }: Props, sparkline: boolean) {
  const theme = useTheme2();
  return () =>
    getFieldDisplayValues({
      fieldConfig: panel.fieldConfig,
      reduceOptions: panel.options.reduceOptions,
      replaceVariables: (text: string) => text,
      theme,
      data,
      sparkline,
      timeZone: 'utc',
    });
}

export function Stat(props: Props) {
  const { panel, data, width, height } = props;
  const theme = useTheme2();
  const values = useValues(props, panel.options.graphMode !== 'none');
  return (
    <VizRepeater
      getValues={values}
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      renderValue={({ value, alignmentFactors, width, height, count }: any) => (
        <BigValue
          value={value.display}
          count={count}
          sparkline={value.sparkline}
          colorMode={panel.options.colorMode}
          graphMode={panel.options.graphMode}
          justifyMode={panel.options.justifyMode}
          textMode={panel.options.textMode}
          text={panel.options.text}
          alignmentFactors={alignmentFactors}
          width={width}
          height={height}
          theme={theme}
          wideLayout={panel.options.wideLayout}
        />
      )}
      width={width}
      height={height}
      source={data}
      itemSpacing={3}
      renderCounter={0}
      autoGrid={true}
      orientation={VizOrientation.Auto}
    />
  );
}

export function Gauge(props: Props) {
  const { panel, data, width, height } = props;
  const theme = useTheme2();
  const values = useValues(props, false);
  return (
    <VizRepeater
      getValues={values}
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      renderValue={({ value, alignmentFactors, width, height, orientation }: { value: FieldDisplay } & any) => (
        <BarGauge
          value={value.display}
          field={value.field}
          display={value.view?.getFieldDisplayProcessor(value.colIndex)}
          width={width}
          height={height}
          orientation={orientation}
          itemSpacing={6}
          displayMode={panel.options.displayMode}
          showUnfilled={panel.options.showUnfilled}
          valueDisplayMode={panel.options.valueMode}
          namePlacement={panel.options.namePlacement}
          alignmentFactors={alignmentFactors}
          theme={theme}
        />
      )}
      width={width}
      height={height}
      source={data}
      itemSpacing={6}
      renderCounter={0}
      minVizWidth={panel.options.minVizWidth}
      minVizHeight={panel.options.minVizHeight}
      maxVizHeight={panel.options.maxVizHeight}
      orientation={panel.options.orientation}
    />
  );
}
