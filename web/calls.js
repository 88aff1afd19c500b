// The same call as text to copy: curl, Python, JavaScript.

const shell = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function python(value, indent = "") {
  const inner = `${indent}    `;
  if (value === null) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (Array.isArray(value)) return value.length === 0 ? "[]" : `[\n${value.map((item) => inner + python(item, inner)).join(",\n")},\n${indent}]`;
  if (typeof value === "object") return `{\n${Object.entries(value).map(([key, item]) => `${inner}${JSON.stringify(key)}: ${python(item, inner)}`).join(",\n")},\n${indent}}`;
  return JSON.stringify(value);
}

function curl(url, call, withKey) {
  const parts = [`curl ${call.stream ? "-N " : ""}${shell(url)}`, "-H 'content-type: application/json'"];
  if (withKey) parts.push('-H "authorization: Bearer $INAZUMA_API_KEY"');
  parts.push(`-d ${shell(JSON.stringify(call.body))}`);
  return parts.join(" \\\n  ");
}

function pythonCall(url, call, withKey) {
  const head = `${call.stream ? "import json\n" : ""}${withKey ? "import os\n" : ""}import requests\n\n`;
  const key = withKey ? '    headers={"authorization": "Bearer " + os.environ["INAZUMA_API_KEY"]},\n' : "";
  const ask = `reply = requests.post(\n    ${JSON.stringify(url)},\n    json=${python(call.body, "    ")},\n${key}${call.stream ? "    stream=True,\n" : ""})\nreply.raise_for_status()\n`;
  if (!call.stream) return `${head}${ask}print(reply.json())`;
  return `${head}${ask}for line in reply.iter_lines():
    if line.startswith(b"data:"):
        event = json.loads(line[5:])
        if "error" in event:
            raise RuntimeError(event["error"])
        if not event["token"]["special"]:
            print(event["token"]["text"], end="", flush=True)`;
}

function javascriptCall(url, call, withKey) {
  const key = withKey ? ",\n    authorization: `Bearer ${process.env.INAZUMA_API_KEY}`" : "";
  const ask = `const reply = await fetch(${JSON.stringify(url)}, {
  method: "POST",
  headers: {
    "content-type": "application/json"${key}
  },
  body: JSON.stringify(${JSON.stringify(call.body, null, 2).replaceAll("\n", "\n  ")}),
});
if (!reply.ok) throw new Error((await reply.json()).error);\n`;
  if (!call.stream) return `${ask}console.log(await reply.json());`;
  return `${ask}let rest = "";
for await (const piece of reply.body.pipeThrough(new TextDecoderStream())) {
  const events = (rest + piece).split("\\n\\n");
  rest = events.pop();
  for (const event of events.filter((text) => text.startsWith("data:"))) {
    const { token, error } = JSON.parse(event.slice(5));
    if (error) throw new Error(error);
    if (!token.special) process.stdout.write(token.text);
  }
}`;
}

/** [name, text] of each language. */
export function snippets(call, origin, withKey) {
  const url = origin + call.path;
  return [["curl", curl(url, call, withKey)], ["Python", pythonCall(url, call, withKey)], ["JavaScript", javascriptCall(url, call, withKey)]];
}
