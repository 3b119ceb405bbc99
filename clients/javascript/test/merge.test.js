import assert from 'node:assert/strict';
import { test } from 'node:test';

const { difference, merged } = await import(new URL('merge.js', import.meta.resolve('sessman')));

test('changes of both sides come together', () => {
    const cases = [
        // base, mine, theirs, result
        [{ a: 1 }, { a: 1 }, { a: 1, b: 2 }, { a: 1, b: 2 }],
        [{ a: 1 }, { a: 2 }, { a: 1, b: 2 }, { a: 2, b: 2 }],
        [{ a: 1 }, {}, { a: 1, b: 2 }, { b: 2 }],
        [{ a: 1, b: 1 }, { a: 1, b: 2 }, { b: 1 }, { b: 2 }],
        [{ a: 1 }, { a: 2 }, { a: 3 }, { a: 2 }],
        [{ a: { x: 1, y: 1 } }, { a: { x: 2, y: 1 } }, { a: { x: 1, y: 2 } }, { a: { x: 2, y: 2 } }],
        [{ a: { x: 1 } }, { a: { x: 1 } }, { a: 5 }, { a: 5 }],
        [{ a: { x: 1 } }, { a: { x: 2 } }, {}, { a: { x: 2 } }],
        [{ a: [1] }, { a: [1, 2] }, { a: [1, 3] }, { a: [1, 2] }],
        [{ a: 1 }, { a: null }, { a: 1, b: null }, { a: null, b: null }],
        [{}, { a: { x: 1 } }, { a: { y: 1 } }, { a: { x: 1, y: 1 } }],
        [{}, { constructor: 1 }, { toString: 2 }, { constructor: 1, toString: 2 }],
    ];
    for (const [base, mine, theirs, result] of cases) {
        assert.deepEqual(merged(base, mine, theirs), result, JSON.stringify([base, mine, theirs]));
    }
});

test('a change is said by a merge patch, unless it has a null', () => {
    const cases = [
        // base, mine, patch
        [{ a: 1 }, { a: 1 }, {}],
        [{ a: 1 }, { a: 2, b: 3 }, { a: 2, b: 3 }],
        [{ a: 1, b: null }, { b: null }, { a: null }],
        [{ a: { x: 1, y: 1 } }, { a: { y: 2 } }, { a: { x: null, y: 2 } }],
        [{ a: [1] }, { a: [1, null, { b: null }] }, { a: [1, null, { b: null }] }],
        [{ a: 1 }, { a: { x: { y: 1 } } }, { a: { x: { y: 1 } } }],
        [{ a: { x: 1 } }, { a: 'text' }, { a: 'text' }],
        [{}, { constructor: 1 }, { constructor: 1 }],
        [{ a: 1 }, { a: null }, undefined],
        [{ a: 1 }, { a: { x: { y: null } } }, undefined],
        [{ a: { x: 1 } }, { a: { x: null } }, undefined],
    ];
    for (const [base, mine, patch] of cases) {
        assert.deepEqual(difference(base, mine), patch, JSON.stringify([base, mine]));
    }
});

test('a member called __proto__ is a member', () => {
    const theirs = JSON.parse('{"__proto__":{"admin":true}}');
    const result = merged({}, { a: 1 }, theirs);
    assert.equal(result.admin, undefined);
    assert.equal(JSON.stringify(result), '{"__proto__":{"admin":true},"a":1}');
    assert.equal(JSON.stringify(difference({}, theirs)), '{"__proto__":{"admin":true}}');
});
