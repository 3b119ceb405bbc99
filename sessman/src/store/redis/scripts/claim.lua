-- Takes a place among a user's: whether it has one (1, 0; -1 if nothing is known), and all places.
-- ARGV: the handle, how many first places will do ('' for any), whether it asks for the last place ('1', ''), whether the rest
--       says which were there before ('1', ''), those handles
local places = redis.call('LRANGE', KEYS[1], 0, -1)
if #places == 0 then
    if ARGV[4] == '' then
        return { -1, places }
    end
    for index = 5, #ARGV do
        redis.call('RPUSH', KEYS[1], ARGV[index])
        places[index - 4] = ARGV[index]
    end
end
local held
for index, other in ipairs(places) do
    if other == ARGV[1] then
        held = index
        break
    end
end
local place = held
if not held then
    place = #places + 1
elseif ARGV[3] ~= '' then
    place = #places
end
if ARGV[2] ~= '' and place > tonumber(ARGV[2]) then
    return { 0, places }
end
if place ~= held then
    if held then
        redis.call('LREM', KEYS[1], 0, ARGV[1])
        table.remove(places, held)
    end
    redis.call('RPUSH', KEYS[1], ARGV[1])
    places[place] = ARGV[1]
end
return { 1, places }
