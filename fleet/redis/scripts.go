package redis

import "github.com/redis/go-redis/v9"

// An entry is stored as "<number>|<value>", so that what a listing reads can be put in order with what is published. A
// change is published as "<number before> <number> <time to live, ms> <key> <value>", with 0 for an entry that is gone.
//
// Numbers follow the server's clock in microseconds where that is ahead, so that they grow also when the server has
// forgotten the last one; they stay below 2^53, which Lua counts exactly.
//
// KEYS: the entry, the index, the number. ARGV: the channel, the key, then what each script says.
const prelude = `
local entry, index, number = KEYS[1], KEYS[2], KEYS[3]
local channel, key = ARGV[1], ARGV[2]
local day = 86400000

local stored = redis.call('GET', entry)
local current = stored and string.sub(stored, string.find(stored, '|', 1, true) + 1)

-- What nobody writes to any more goes after a day.
local function touch(name, ttl)
  redis.call('PEXPIRE', name, math.max(day, ttl))
end

local function change(ttl, value)
  local before = redis.call('GET', number) or '0'
  local time = redis.call('TIME')
  local now = string.format('%.0f', math.max(before + 1, time[1] * 1000000 + time[2]))
  local ms = time[1] * 1000 + math.floor(time[2] / 1000)
  if ttl > 0 then
    redis.call('SET', entry, now .. '|' .. value, 'PX', ttl)
    redis.call('ZADD', index, ms + ttl, key)
  else
    redis.call('DEL', entry)
    redis.call('ZREM', index, key)
  end
  redis.call('SET', number, now)
  touch(number, ttl)
  redis.call('ZREMRANGEBYSCORE', index, '-inf', ms - 1)
  touch(index, ttl)
  redis.call('PUBLISH', channel, before .. ' ' .. now .. ' ' .. ttl .. ' ' .. key .. ' ' .. value)
  return 1
end
`

var (
	// ARGV: the value, the time to live in ms.
	put = redis.NewScript(prelude + `return change(tonumber(ARGV[4]), ARGV[3])`)

	// ARGV: the value, the time to live in ms, whether there is an old value (0 or 1), the old value.
	swap = redis.NewScript(prelude + `
if ARGV[5] == '1' then
  if current ~= ARGV[6] then return 0 end
elseif current then
  return 0
end
return change(tonumber(ARGV[4]), ARGV[3])`)

	// ARGV: the old value.
	remove = redis.NewScript(prelude + `
if current ~= ARGV[3] then return 0 end
return change(0, '')`)

	// list gives of each entry in KEYS its text and its remaining life in ms; -2 where it is gone.
	list = redis.NewScript(`
local found = {}
for i, entry in ipairs(KEYS) do
  found[2 * i - 1] = redis.call('GET', entry) or ''
  found[2 * i] = redis.call('PTTL', entry)
end
return found`)
)
