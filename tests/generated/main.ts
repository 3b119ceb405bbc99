// A session through the client that openapi-generator makes from the description.
import { Configuration, ResponseError, ServiceApi, SessionApi } from './client';

declare const process: { argv: string[]; exit(status: number): never };

function check(what: string, ok: boolean): void {
    if (!ok) {
        console.log(what);
        process.exit(1);
    }
}

async function main(): Promise<void> {
    const [, , address, key] = process.argv;
    const configuration = new Configuration({ basePath: `${address}/sessman`, accessToken: key });
    const service = new ServiceApi(configuration);
    const sessions = new SessionApi(configuration);

    const begun = await service.createSession({
        createSessionRequest: { userId: 'ada', ttlSeconds: 600, data: { theme: 'dark' } },
    });
    const xSessionId: string = begun.sessionId ?? '';

    const read = await sessions.getSession({ xSessionId });
    check('get', read.userId === 'ada' && read.data.theme === 'dark' && read.createdAt instanceof Date);

    const changed = await sessions.updateSession({
        xSessionId,
        updateSessionRequest: { mode: 'merge', data: { cart: [1, 2] } },
    });
    check('update', changed.version === 2 && changed.data.theme === 'dark');

    const mine = await sessions.listMySessions({ xSessionId });
    check('mine', mine.sessions.length === 1 && mine.sessions[0]?.current === true);

    const ended = await sessions.endSession({ xSessionId });
    check('end', ended.handle === read.handle);
    const after = await sessions.getSession({ xSessionId }).catch((error: unknown) => error);
    check('after its end', after instanceof ResponseError && after.response.status === 404);
    console.log('a session was begun, read, changed, listed and ended');
}

void main();
