-- Takes away names of sessions that were written down when the caller says, and not again since.
-- ARGV: name and time, name and time, ...
for index = 1, #ARGV, 2 do
    if redis.call('ZSCORE', KEYS[1], ARGV[index]) == ARGV[index + 1] then
        redis.call('ZREM', KEYS[1], ARGV[index])
    end
end
return 1
