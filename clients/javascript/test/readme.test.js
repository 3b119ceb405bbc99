import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { base_url } from './service.js';

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
const blocks = [...readme.matchAll(/```js\n(.*?)```/gs)].map(([, code]) => code);

test('the code of the README runs', (t) => {
    assert.equal(blocks.length, 2);
    const outputs = blocks.map((code, index) => {
        const file = fileURLToPath(new URL(`readme-${process.pid}-${index}.mjs`, import.meta.url));
        t.after(() => rmSync(file));
        writeFileSync(file, code.replaceAll('http://localhost:6123/sessman', base_url));
        const env = { ...process.env, COOKIE_SECRET: 'only for tests' };
        const { status, stdout, stderr } = spawnSync(process.execPath, [file], { encoding: 'utf8', env });
        assert.equal(status, 0, stderr);
        assert.equal(stderr, '');
        return stdout;
    });
    assert.match(outputs[0], /^ada { visits: 2, cart: \[ 'book' \] } 20.*Z\nit has ended\n$/);
    assert.equal(outputs[1], '');
});
