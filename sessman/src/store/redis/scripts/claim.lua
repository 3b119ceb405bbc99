-- Takes a place among a user's: whether it has one (1, 0; -1 if nothing is known), and all places.
-- ARGV: the handle, how many first places will do ('' for any), whether the rest says which were there before ('1', ''),
--       those handles
local places = redis.call('LRANGE', KEYS[1], 0, -1)
if #places == 0 then
    if ARGV[3] == '' then
        return { -1, places }
    end
    for index = 4, #ARGV do
        redis.call('RPUSH', KEYS[1], ARGV[index])
        places[index - 3] = ARGV[index]
    end
end
local place = #places + 1
for index, other in ipairs(places) do
    if other == ARGV[1] then
        place = index
        break
    end
end
if ARGV[2] ~= '' and place > tonumber(ARGV[2]) then
    return { 0, places }
end
if place > #places then
    redis.call('RPUSH', KEYS[1], ARGV[1])
    places[place] = ARGV[1]
end
return { 1, places }
