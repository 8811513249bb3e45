// Puts each request of deploy/kibana/queries.console and both templates into a program that declares it to be what
// Elasticsearch's own client takes, and has the TypeScript compiler check that. Then it spoils them, one way after the
// other, and each has to be refused: types that accept anything would prove nothing. (They still accept `interval` in a
// date_histogram, which Elasticsearch has refused since 8.0; the stand-in of the Go tests refuses it.)
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";

const here = dirname(fileURLToPath(import.meta.url));
const deployed = (name) => readFileSync(join(here, "../../deploy/kibana", name), "utf8");

const declarations = [];
for (const [, name, body] of deployed("queries.console").matchAll(/^# ([a-z-]+): [^]*?^GET \S+\/_search\n([^]*?\n\})$/gm)) {
  declarations.push({ name, type: "estypes.SearchRequest", body });
}
if (declarations.length < 9) {
  throw new Error(`found only ${declarations.length} searches in queries.console`);
}
declarations.push(
  { name: "component-template", type: "Omit<estypes.ClusterPutComponentTemplateRequest, 'name'>", body: deployed("component-template.json") },
  { name: "index-template", type: "Omit<estypes.IndicesPutIndexTemplateRequest, 'name'>", body: deployed("index-template.json") },
);

const spoiled = (of, from, to) => {
  const { name, type, body } = declarations.find((d) => d.name === of);
  if (!body.includes(from)) {
    throw new Error(`${of} has no ${from} to spoil`);
  }
  return { name: `${name} with ${to}`, type, body: body.replace(from, to), wrong: true };
};
declarations.push(
  spoiled("events-over-time", '"fixed_interval"', '"fixed_intervall"'),
  spoiled("events-over-time", '"terms": {', '"term": {'),
  spoiled("openings", '"filter"', '"filters"'),
  spoiled("openings", '"desc"', '"down"'),
  spoiled("longest-recoveries", '"exists": { "field"', '"exists": { "fields"'),
  spoiled("component-template", '"keyword"', '"keywords"'),
  spoiled("index-template", '"dynamic": false', '"dynamic": "no"'),
);

const program = join(here, "generated.ts");
const lines = ['import type { estypes } from "@elastic/elasticsearch";'];
const ranges = [];
for (const d of declarations) {
  const from = lines.length;
  lines.push(`export const d${from}: ${d.type} =`, ...d.body.trim().split("\n"), ";");
  ranges.push({ ...d, from, to: lines.length });
}
const options = { strict: true, noEmit: true, skipLibCheck: true, module: ts.ModuleKind.NodeNext, target: ts.ScriptTarget.ES2022, types: [] };
const host = ts.createCompilerHost(options);
const { fileExists, getSourceFile } = host;
host.fileExists = (file) => file === program || fileExists(file);
host.getSourceFile = (file, ...rest) =>
  file === program ? ts.createSourceFile(file, lines.join("\n"), options.target, true) : getSourceFile(file, ...rest);

const complaints = new Map(ranges.map((r) => [r, []]));
for (const d of ts.getPreEmitDiagnostics(ts.createProgram([program], options, host))) {
  const text = ts.flattenDiagnosticMessageText(d.messageText, "\n");
  const line = d.file?.fileName === program ? d.file.getLineAndCharacterOfPosition(d.start).line : -1;
  const within = ranges.find((r) => line >= r.from && line < r.to);
  if (!within) {
    throw new Error(text);
  }
  complaints.get(within).push(`line ${line - within.from}: ${text}`);
}
let failed = false;
for (const [r, found] of complaints) {
  const right = found.length > 0 === Boolean(r.wrong);
  failed ||= !right;
  console.log(`${right ? "ok  " : "FAIL"} ${r.name}${r.wrong ? ": refused" : ""}`);
  if (!right) {
    console.log(found.length > 0 ? found.join("\n") : "it was accepted, and is wrong");
  }
}
process.exitCode = failed ? 1 : 0;
