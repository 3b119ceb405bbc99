-- Takes places away.
-- ARGV: the handles
if #ARGV <= 8 then
    for _, handle in ipairs(ARGV) do
        redis.call('LREM', KEYS[1], 0, handle)
    end
    return 1
end
-- Many of many: each `LREM` looks at the whole list.
local gone = {}
for _, handle in ipairs(ARGV) do
    gone[handle] = true
end
local kept = {}
for _, place in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
    if not gone[place] then
        kept[#kept + 1] = place
    end
end
redis.call('DEL', KEYS[1])
for _, place in ipairs(kept) do
    redis.call('RPUSH', KEYS[1], place)
end
return 1
