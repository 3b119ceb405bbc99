-- Takes places away.
-- ARGV: the handles
for _, handle in ipairs(ARGV) do
    redis.call('LREM', KEYS[1], 0, handle)
end
return 1
