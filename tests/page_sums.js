// SPDX-License-Identifier: MIT
//
// What the script of an interactive page says of windows of its data, outside of a browser:
// page_sums.js MODEL.js PAGE A-B... writes [bytes, blocks] by stack of each measure.

const fs = require('fs');
const zlib = require('zlib');
const [, , script, page, ...windows] = process.argv;
const {MEASURES, readModel, sumWindow} = require(script);
const data = /id="data">([^<]*)</.exec(fs.readFileSync(page, 'utf8'))[1];
const model = readModel(new Uint8Array(zlib.inflateSync(Buffer.from(data, 'base64'))));
console.log(JSON.stringify(windows.map(window => {
  const [a, b] = window.split('-').map(Number);
  const sums = sumWindow(model, a, b, model.rowStack, model.nStacks);
  const found = MEASURES.map(measure =>
    [measure, [[...sums.bytes[measure]], [...sums.blocks[measure]]]]);
  return Object.fromEntries([...found, ['instant', [[], [...sums.instant]]]]);
})));
