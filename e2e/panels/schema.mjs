// Checks the dashboards against the types of Grafana's foundation SDK: the dashboard, the query of each target, the
// options and the field configuration of each panel. A key that Grafana does not know is an error.
import { Ajv } from 'ajv';
import { readdir, readFile } from 'node:fs/promises';
import { createGenerator } from 'ts-json-schema-generator';

const here = (path) => new URL(path, import.meta.url).pathname;

// checker compiles a type of the SDK to a function that returns what is wrong.
function checker(module, type, mend = () => {}) {
  const schema = createGenerator({
    path: here(`node_modules/@grafana/grafana-foundation-sdk/dist/${module}/types.gen.d.ts`),
    tsconfig: here('tsconfig.json'), type, skipTypeCheck: true, additionalProperties: false,
  }).createSchema(type);
  // What marks a type in the SDK's own code is no part of the JSON.
  for (const definition of Object.values(schema.definitions)) {
    delete definition.properties?._implementsDataqueryVariant;
    definition.required = definition.required?.filter((name) => name !== '_implementsDataqueryVariant');
  }
  mend(schema.definitions);
  const validate = new Ajv({ allErrors: true, strict: false }).compile(schema);
  return (value) => {
    validate(value);
    return (validate.errors ?? []).map((e) => `${e.instancePath} ${e.message} ${JSON.stringify(e.params)}`);
  };
}

const queries = { prometheus: checker('prometheus', 'Dataquery'), loki: checker('loki', 'dataquery') };
const panels = {};
for (const type of ['stat', 'timeseries', 'bargauge', 'state-timeline', 'heatmap', 'logs', 'table']) {
  const module = type.replace('-', '');
  panels[type] = { options: checker(module, 'Options') };
  if (['timeseries', 'state-timeline', 'heatmap'].includes(type)) {
    panels[type].custom = checker(module, 'FieldConfig');
  }
}

const dashboard = checker('dashboard', 'Dashboard', (types) => {
  // Where the SDK is stricter than Grafana: nothing is chosen in a variable until Grafana chooses, and a link of a
  // value needs less than a link of a dashboard.
  types.VariableOption.required = [];
  types.DashboardLink.required = ['title'];
  types.Dataquery.additionalProperties = true; // each is checked by its own type
  types.Panel.properties.type = { enum: Object.keys(panels) }; // so that a row is told from a panel
});

const dir = here('../../deploy/grafana/dashboards/');
let wrong = 0;
let checked = 0;
for (const file of await readdir(dir)) {
  const d = JSON.parse(await readFile(dir + file, 'utf8'));
  const say = (where, errors) => {
    checked++;
    wrong += errors.length;
    errors.forEach((e) => console.error(`${file}: ${where}: ${e}`));
  };
  say('dashboard', dashboard(d));
  for (const p of d.panels.filter((p) => p.type !== 'row')) {
    say(`${p.title}, options`, panels[p.type].options(p.options));
    if (panels[p.type].custom) {
      say(`${p.title}, field configuration`, panels[p.type].custom(p.fieldConfig.defaults.custom));
    }
    if (!panels[p.type].options({ ...p.options, unheardOf: 1 }).length || !dashboard({ ...d, panels: [{ ...p, unheardOf: 1 }] }).length) {
      say(p.title, ['the check lets through what Grafana does not know']);
    }
    p.targets.forEach((t) => say(`${p.title}, query ${t.refId}`, queries[t.datasource.type](t)));
  }
}
console.log(`${checked} checks by the types of Grafana's foundation SDK, ${wrong} errors`);
process.exit(wrong ? 1 : 0);
