// Players at one table, whose state is a session. All move at once, and no move is lost: a change that meets another one is
// made again with the state as it is then.
import { Session } from 'sessman';

const [players = 4, moves = 10] = process.argv.slice(2).map(Number);
const { SESSMAN_URL, SESSMAN_KEY } = process.env;
const options = { base_url: SESSMAN_URL ?? 'http://localhost:6123/sessman', auth: SESSMAN_KEY };

const table = await Session.create(null, { ...options, data: { pot: 0, last: null, moves: {} } });
let tries = 0;

async function play(name) {
    const seat = await Session.load(table.session_id, options);
    for (let move = 0; move < moves; move += 1) {
        await seat.change((state) => {
            tries += 1;
            state.pot += 1;
            state.last = name;
            state.moves[name] = (state.moves[name] ?? 0) + 1;
        });
    }
}

await Promise.all(Array.from({ length: players }, (_, index) => play(`player ${index + 1}`)));
await table.load();
console.log(JSON.stringify({ pot: table.data.pot, moves: table.data.moves, tries }));
await table.end();
