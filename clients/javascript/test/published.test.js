// The tests that other stores for `express-session` publish with themselves, run against ours.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const { resolve } = createRequire(import.meta.url);
const mocha = resolve('mocha/bin/mocha.js');
const hooks = fileURLToPath(new URL('published-hooks.cjs', import.meta.url));

function run(file, ...more) {
    const given = [mocha, '--no-config', '--exit', '--reporter', 'json', '--timeout', '60000', '--require', hooks];
    const { stdout, stderr } = spawnSync(process.execPath, [...given, ...more, resolve(file)], { encoding: 'utf8' });
    const { passes, failures } = JSON.parse(stdout || '{}');
    assert.deepEqual(failures, [], stderr);
    return passes.map(({ title }) => title);
}

test('all that connect-sqlite3 asks of itself', () => {
    assert.equal(run('connect-sqlite3/test/test.js').length, 9);
});

test('what memorystore asks of any store', () => {
    // The others are about its options, its own clean-up, ages below a second, and ids and data in lists.
    const cases = [
        'should set and get a sample entry',
        'should not persist sessions that fail to serialize',
        'should not get a deleted entry',
        'should touch a given entry',
        'should count all entries in the store',
        'should delete all entries from the store',
    ];
    assert.deepEqual(run('memorystore/test/store.js', '--grep', `(${cases.join('|')})$`), cases);
});
