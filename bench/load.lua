-- The requests of one run for wrk, which has one thread of this script: one session after the other, and for writes
-- another number each time, so that no write is one that changes nothing.
local file = dofile(os.getenv("BENCH_REQUESTS"))
local ids = {}
for id in io.lines(os.getenv("BENCH_IDS")) do
    ids[#ids + 1] = id
end
local count, next_id = #ids, 0
local number = (os.time() % 100000) * 100000

-- Prime, so that neighbours in the store do not follow each other.
local step = 7919

request = function()
    local text = file.between
    if file.before then
        next_id = (next_id + step) % count
        text = file.before .. ids[next_id + 1] .. text
    end
    if file.after then
        number = number + 1
        text = text .. string.format("%010d", number) .. file.after
    end
    return text
end
