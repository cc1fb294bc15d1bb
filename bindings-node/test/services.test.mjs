// What the services answer: the same cases as in bindings-python/tests/test_services_alike.py.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test, { before } from "node:test";

import * as ayni from "ayni";

import { everything, loading } from "./services.mjs";

const { cases, loading: early } = JSON.parse(readFileSync(new URL("../../core/conformance/services.json", import.meta.url), "utf8"));
let service;
let starting;
let png;
before(async () => {
  service = await everything();
  starting = loading();
  const { images } = await (await ayni.openImages({ backend: "scripted" })).generate("x", { size: [8, 8] });
  png = images[0].data.toString("base64");
});

const written = (body) =>
  JSON.stringify(body, (_, value) => (value?.$repeat === undefined ? value : value.$repeat.repeat(value.count)));

for (const one of [...cases, ...early]) {
  test(one.name, async () => {
    const headers = { ...(one.key === null ? {} : { "x-api-key": one.key ?? "sesame" }) };
    let body = one.text;
    if (one.body !== undefined) body = written(one.body).replaceAll("{{png}}", png);
    if (body !== undefined) headers["content-type"] = "application/json";
    const init = { method: one.method ?? "GET", headers: { ...headers, ...one.send }, body };
    const response = await (early.includes(one) ? starting : service).handle(new Request(`http://localhost${one.path}`, init));
    const text = await response.text();
    assert.equal(response.status, one.status, text);
    for (const [name, value] of Object.entries(one.headers ?? {})) assert.equal(response.headers.get(name), value, name);
    for (const part of one.contains ?? []) assert.ok(text.includes(part), text);
    assert.match(response.headers.get("x-request-id") ?? (init.method === "OPTIONS" ? "-" : ""), /./);
    if (one.json || one.has) {
      const found = JSON.parse(text);
      assert.deepEqual(Object.fromEntries(Object.keys(one.json ?? {}).map((key) => [key, found[key]])), one.json ?? {});
      for (const key of one.has ?? []) assert.ok(key in found, `${key}: ${text}`);
    }
    if (one.kind) {
      const { detail, error } = JSON.parse(text);
      assert.equal(error.kind, one.kind, text);
      assert.equal(detail, error.message);
      assert.equal(error.request_id, response.headers.get("x-request-id"));
      if (one.param) assert.equal(error.param, one.param, text);
    }
  });
}
