import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc');

test('the types are those of the code and of express-session', () => {
    const options = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2022', '--lib', 'es2022,dom'];
    const file = fileURLToPath(new URL('use.mts', import.meta.url));
    const { status, stdout } = spawnSync(process.execPath, [tsc, ...options, file], { encoding: 'utf8' });
    assert.equal(status, 0, stdout);
});

test('every name of the types is one of the code', async () => {
    const { Session } = await import('sessman');
    const { SessmanStore } = await import('sessman/express-session');
    const has = (Class, names) => names.forEach((name) => assert.equal(typeof Class.prototype[name], 'function', name));
    has(Session, ['createSession', 'load', 'updateSession', 'patch', 'change', 'touch', 'rotate', 'validate', 'end']);
    has(Session, ['get_command_url', 'get_data']);
    has(SessmanStore, ['get', 'set', 'touch', 'destroy', 'all', 'length', 'clear', 'createSession']);
});
