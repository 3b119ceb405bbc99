-- Takes the lease of the clean-up, or keeps it: 1 if it has it now, 0 if another one has it.
-- ARGV: who asks, for how many milliseconds
local leader = redis.call('GET', KEYS[1])
if leader and leader ~= ARGV[1] then
    return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
