// Parses the AsyncAPI document named first and prints what the parser says of it and what it found, as JSON.
// The second argument is the folder in whose node_modules the parser was installed.
import { createRequire } from "node:module";
import { join, resolve } from "node:path";

const [document, home] = process.argv.slice(2);
const { Parser, fromFile } = createRequire(join(resolve(home), "package.json"))("@asyncapi/parser");
const { document: found, diagnostics } = await fromFile(new Parser(), document).parse();
const said = diagnostics.map(({ severity, code, message, path }) => ({ severity, code, message, path }));
const channels = (found?.channels().all() ?? []).map((channel) => ({
  id: channel.id(),
  address: channel.address(),
  actions: channel.operations().all().map((operation) => operation.action()),
  messages: channel.messages().all().map((message) => ({
    id: message.id(),
    schema: message.payload()?.json(),
    examples: message.examples().all().map((example) => example.payload()),
  })),
}));
console.log(JSON.stringify({ diagnostics: said, channels }));
