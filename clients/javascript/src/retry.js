import { ConflictError } from './errors.js';

/** Milliseconds that a try waits at most, by chance, for each that failed before it. */
const PAUSE = 20;

/**
 * Does `step` again while somebody else is faster. Those who met wait for different times, or they would meet again.
 *
 * @template T
 * @param {number} attempts
 * @param {(attempt: number) => Promise<T>} step
 * @returns {Promise<T>}
 */
export async function retryConflicts(attempts, step) {
    for (let attempt = 0; ; attempt += 1) {
        try {
            return await step(attempt);
        } catch (error) {
            if (!(error instanceof ConflictError) || attempt + 1 >= attempts) throw error;
        }
        const pause = Math.random() * PAUSE * Math.min(attempt + 1, 10);
        await new Promise((resolve) => setTimeout(resolve, pause));
    }
}
