-- The quota counters of one workspace. Called with its three keys, what is to be done, and that in JSON.
--
-- Numbers are whole and at most 2^53 - 1, where doubles are exact; they come and go as decimal strings. Times are
-- microseconds of this server's clock.
local COUNTERS, GRANTS, LEASES = KEYS[1], KEYS[2], KEYS[3]
local ask = cjson.decode(ARGV[2])

local MAX = 9007199254740991
local IN_PERIOD, SLOTS = 30, 32 -- slots of a rate's period; slots that are remembered
local KEEP = 40 * 86400 -- seconds that an idle workspace is kept: longer than a month
local HOUR = 3600000000
local DAY = 86400000000

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])

local function add(a, b) return math.min(a + b, MAX) end

-- The whole part and the rest of a * b / p, exactly; a and p below 2^32, a <= p, b <= 2^53.
local function muldiv(a, b, p)
  local L = 262144
  local p0 = a * (b % L)
  local p1 = a * (math.floor(b / L) % L) + math.floor(p0 / L)
  local p2 = a * math.floor(b / (L * L)) + math.floor(p1 / L)
  local q, r = 0, 0
  for _, digit in ipairs({ math.floor(p2 / (L * L)), math.floor(p2 / L) % L, p2 % L, p1 % L, p0 % L }) do
    local high = r * L + digit
    q = q * L + math.floor(high / p)
    r = high % p
  end
  return q, r
end

-- Rates: a bucket's debt in permits, `w` whole ones and `f` parts of which `p` make one, as of `t`. It drains by `a`
-- permits each `p` microseconds.

local function drain(d, a, p, at)
  local passed = at - d.t
  if passed <= 0 then return end
  d.t = at
  d.w = d.w - math.min(math.floor(passed / p) * a, d.w + 1)
  local q, r = muldiv(passed % p, a, p)
  d.f = d.f - r
  if d.f < 0 then d.f, d.w = d.f + p, d.w - 1 end
  d.w = d.w - q
  if d.w < 0 then d.w, d.f = 0, 0 end
end

local function owed(d)
  return d.f > 0 and d.w + 1 or d.w
end

local function take(c, n, at)
  c.w = add(c.w, n)
  local number = math.floor(at / math.floor(c.p / IN_PERIOD))
  local slot = c.s[tostring(number)] or { at, 0 }
  slot[1], slot[2] = math.max(slot[1], at), add(slot[2], n)
  c.s[tostring(number)] = slot
  for known in pairs(c.s) do
    if tonumber(known) <= number - SLOTS then c.s[known] = nil end
  end
  return number
end

-- The debt of all takes in `slot` and after it, had nobody come before.
local function since(c, slot)
  local numbers = {}
  for known in pairs(c.s) do
    if tonumber(known) >= slot then numbers[#numbers + 1] = tonumber(known) end
  end
  table.sort(numbers)
  local d = { w = 0, f = 0, t = 0 }
  for _, number in ipairs(numbers) do
    local taken = c.s[tostring(number)]
    drain(d, c.a, c.p, taken[1])
    d.w = add(d.w, taken[2])
  end
  drain(d, c.a, c.p, now)
  return d
end

-- Turns `held` permits that were taken in `slot` into `used` ones. Giving back never reaches below the debt of those
-- who came later: what has refilled meanwhile is not given back a second time.
local function correct(c, slot, held, used)
  local taken = c.s[tostring(slot)]
  if not taken then return end
  if used >= held then
    taken[2] = add(taken[2], used - held)
    c.w = add(c.w, used - held)
    return
  end
  taken[2] = math.max(taken[2] - (held - used), 0)
  local less = { w = c.w - (held - used), f = c.f }
  if less.w < 0 then less.w, less.f = 0, 0 end
  local floor = since(c, slot)
  if floor.w > less.w or (floor.w == less.w and floor.f > less.f) then less = floor end
  if less.w < c.w or (less.w == c.w and less.f < c.f) then c.w, c.f = less.w, less.f end
end

-- Calendar windows, UTC.

local function days_of(year, month)
  if month <= 2 then year = year - 1 end
  local era = math.floor(year / 400)
  local yoe = year % 400
  local doy = math.floor((153 * ((month + 9) % 12) + 2) / 5)
  return era * 146097 + yoe * 365 + math.floor(yoe / 4) - math.floor(yoe / 100) + doy - 719468
end

local function window(kind, at)
  local day = math.floor(at / DAY)
  if kind == 'day' then return day * DAY, (day + 1) * DAY end
  if kind ~= 'month' then return 0, -1 end
  local z = day + 719468
  local doe = z % 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local shifted = math.floor((5 * doy + 2) / 153)
  local month = shifted < 10 and shifted + 3 or shifted - 9
  local year = yoe + math.floor(z / 146097) * 400 + (month <= 2 and 1 or 0)
  local next_year, next_month = year, month + 1
  if month == 12 then next_year, next_month = year + 1, 1 end
  return days_of(year, month) * DAY, days_of(next_year, next_month) * DAY
end

-- Counters: `k` kind, `h` held by open grants, `o` how many those are, `c` posted ever, `u` last use, `ok` seeded. Of a
-- span: `p` posted since `b`. And whose they are, for grants that were open before them.

local counters, touched = {}, {}

local function counter(name)
  if counters[name] == nil then
    local packed = redis.call('HGET', COUNTERS, name)
    counters[name] = packed and cmsgpack.unpack(packed) or false
  end
  return counters[name]
end

local function start(l)
  local c = { k = l.k, h = 0, o = 0, c = 0, u = now, ok = false, sc = l.sc, md = l.md, mo = l.mo, me = l.me }
  if l.k == 'rate' then
    c.p, c.a, c.w, c.f, c.t, c.s = tonumber(l.p), tonumber(l.a), 0, 0, now, {}
  elseif l.k ~= 'lease' then
    c.b, c.p = window(l.k, now), 0
  end
  counters[l.n] = c
  return c
end

-- Brings a counter to the present.
local function roll(name, c)
  touched[name] = true
  c.u = now
  if c.k == 'rate' then
    drain(c, c.a, c.p, now)
  elseif c.k ~= 'lease' then
    local from = window(c.k, now)
    if from > c.b then c.b, c.p, c.h = from, 0, 0 end
  end
end

-- A rate whose amount changes keeps its debt in time.
local function resize(c, a)
  if c.k ~= 'rate' or c.a == a then return end
  if c.a > 0 then
    local debt = (c.w + c.f / c.p) * a / c.a
    c.w = math.min(math.floor(debt), MAX)
    c.f = math.min(math.ceil((debt - math.floor(debt)) * c.p), c.p - 1)
  end
  c.a = a
end

local function place(c, n)
  c.h, c.o = add(c.h, n), c.o + 1
  if c.k == 'rate' then return take(c, n, now) end
  return c.b or 0
end

-- Lets a counter hold what was admitted before it was there. The debt of a rate is reckoned when it is seeded.
local function adopt(name, c, g)
  for _, hold in ipairs(g.h) do
    if hold[1] == name then return false end
  end
  local covered = false
  for _, scope in ipairs(g.sc) do covered = covered or scope == c.sc end
  if not covered or (c.md ~= '' and c.md ~= g.md) or (c.mo ~= '' and c.mo ~= g.mo) then return false end
  local n, at, present = tonumber(g.am[c.me]), 0, true
  if c.k == 'rate' then
    at = math.floor(g.at / math.floor(c.p / IN_PERIOD))
  elseif c.k ~= 'lease' then
    at = window(c.k, g.at)
    present = at == c.b
  end
  if present then c.h = add(c.h, n) end
  c.o = c.o + 1
  g.h[#g.h + 1] = { name, at, n }
  return true
end

local function used(c)
  if c.k == 'rate' then
    local all = owed(c)
    local held = math.min(c.h, all)
    return all - held, held
  elseif c.k == 'lease' then
    return 0, c.h
  end
  return c.p, c.h
end

local function resets(c)
  if c.k == 'lease' then return -1 end
  if c.k ~= 'rate' then
    local _, ends = window(c.k, now)
    return ends
  end
  if c.a == 0 then return now end
  return now + math.ceil((c.w * c.p + c.f) / c.a)
end

local crossed = {}

local function settle(g, amounts)
  for _, hold in ipairs(g.h) do
    local name, at, held = hold[1], hold[2], hold[3]
    local c = counter(name)
    if c then
      roll(name, c)
      local n = amounts and tonumber(amounts[c.me]) or 0
      local before = used(c)
      c.o = math.max(c.o - 1, 0)
      if c.k == 'lease' then
        c.h = math.max(c.h - held, 0)
      elseif c.k == 'rate' then
        correct(c, at, held, n)
        c.h, c.c = math.max(c.h - held, 0), add(c.c, n)
      elseif c.b == at then
        c.p, c.h, c.c = add(c.p, n), math.max(c.h - held, 0), add(c.c, n)
      end
      local after = used(c)
      if after > before then crossed[#crossed + 1] = { name, before, after, c.k == 'rate' and -1 or at } end
    end
  end
end

-- A lasting grant that has ended stays for an hour as an empty one: it must not be put back. One that was never kept is of
-- no job: where it is reaped, nobody was paid for it.
local function finish(id, amounts)
  local packed = redis.call('HGET', GRANTS, id)
  if packed == '' and amounts ~= 'held' then return end
  redis.call('ZREM', LEASES, id)
  if not packed then return end
  redis.call('HDEL', GRANTS, id)
  if packed == '' then return end
  local g = cmsgpack.unpack(packed)
  if amounts == 'held' then amounts = (not g.l or g.k) and g.am end
  settle(g, amounts)
  if g.l then
    redis.call('HSET', GRANTS, id, '')
    redis.call('ZADD', LEASES, now + HOUR, id)
  end
end

-- The open grants, by id.
local function grants()
  local all = redis.call('HGETALL', GRANTS)
  local open = {}
  for i = 1, #all, 2 do
    if all[i + 1] ~= '' then open[all[i]] = cmsgpack.unpack(all[i + 1]) end
  end
  return open
end

-- What was admitted by instances that are gone is posted at its hold.
local function reap(most)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', LEASES, '-inf', now, 'LIMIT', 0, most)) do finish(id, 'held') end
end

local function keep(id, g)
  redis.call('HSET', GRANTS, id, cmsgpack.pack(g))
  redis.call('ZADD', LEASES, now + tonumber(ask.lease), id)
end

local function save()
  for name in pairs(touched) do
    redis.call('HSET', COUNTERS, name, cmsgpack.pack(counters[name]))
  end
  for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, KEEP) end
end

-- One counter that nobody has used for long is forgotten now and then.
local function prune()
  local name = redis.call('HRANDFIELD', COUNTERS)
  if not name or touched[name] then return end
  local c = cmsgpack.unpack(redis.call('HGET', COUNTERS, name))
  if c.o == 0 and now - c.u > KEEP * 1000000 then redis.call('HDEL', COUNTERS, name) end
end

-- How long until `n` more fit: a time, or one of the words that need none. Nothing when they fit.
local function refuses(c, l, n)
  local a = tonumber(l.a)
  if n > a or (a == 0 and (l.me == 'requests' or l.me == 'spend' or l.me == 'concurrency')) then return 'large', 3, 0 end
  if n == 0 then return end
  if c.k == 'rate' then
    if owed(c) + n <= a then return end
    local wait = math.max(math.ceil(((c.w + n - a) * c.p + c.f) / a), 1)
    return 'after', 1, wait
  end
  if (c.p or 0) + c.h + n <= a then return end
  if c.k == 'lease' then return 'soon', 0, 0 end
  if c.k == 'total' then return 'never', 2, 0 end
  local _, ends = window(c.k, now)
  return 'after', 1, ends - now
end

local function shown(l)
  local c = counter(l.n)
  local posted, held = used(c)
  return { posted, held, math.max(tonumber(l.a) - posted - held, 0), resets(c) }
end

local function ready()
  for _, l in ipairs(ask.ls) do
    local c = counter(l.n)
    if not c or not c.ok then return false end
    roll(l.n, c)
    resize(c, tonumber(l.a))
  end
  return true
end

local todo = {}

function todo.admit()
  reap(20)
  if not ready() then
    save()
    return { 'unseeded' }
  end
  local worst, hardest, which, wait
  for i, l in ipairs(ask.ls) do
    if l.m == 'enforce' then
      local why, hard, after = refuses(counter(l.n), l, tonumber(ask.am[l.me]))
      if why and (not worst or hard > hardest or (hard == hardest and after > wait)) then
        worst, hardest, which, wait = why, hard, i, after
      end
    end
  end
  local holds = {}
  if not worst then
    for i, l in ipairs(ask.ls) do
      local n = tonumber(ask.am[l.me])
      holds[i] = { l.n, place(counter(l.n), n), n }
    end
    keep(ask.id, { sc = ask.sc, md = ask.md, mo = ask.mo, am = ask.am, at = now, h = holds, l = ask.l })
  end
  local states = {}
  for i, l in ipairs(ask.ls) do states[i] = shown(l) end
  prune()
  save()
  return { worst or 'admitted', now, which or 0, wait or 0, states, crossed }
end

function todo.state()
  reap(20)
  if not ready() then
    save()
    return { 'unseeded' }
  end
  local states = {}
  for i, l in ipairs(ask.ls) do states[i] = shown(l) end
  save()
  return { 'state', now, 0, 0, states, crossed }
end

function todo.settle()
  for _, ended in ipairs(ask.ended) do finish(ended[1], ended[2]) end
  save()
  return { 'settled', now, 0, 0, {}, crossed }
end

-- Grants of the asking instance live on; those that the server has lost are there again.
local function restore()
  for _, own in ipairs(ask.own) do
    local id, g = own[1], own[2]
    local known = redis.call('HGET', GRANTS, id)
    if known == '' then
      -- settled
    elseif known then
      redis.call('ZADD', LEASES, now + tonumber(ask.lease), id)
      if g.l then
        local kept = cmsgpack.unpack(known)
        if not kept.k then
          kept.k = true
          redis.call('HSET', GRANTS, id, cmsgpack.pack(kept))
        end
      end
    else
      g.k = true
      g.h, g.at = {}, tonumber(g.at)
      for _, name in ipairs(redis.call('HKEYS', COUNTERS)) do
        local c = counter(name)
        if adopt(name, c, g) then touched[name] = true end
      end
      keep(id, g)
    end
  end
end

function todo.renew()
  restore()
  save()
  return { 'renewed', now, 0, 0, {}, {} }
end

-- A limit that is new to the asking instance: its counter holds what runs. Tells from when on the ledger must be asked
-- (-1: not at all), and what was posted so far.
function todo.meet()
  restore()
  -- The ledger that is asked next may know of their ends already.
  reap(1000)
  local l = ask.ls[1]
  local known = counter(l.n)
  local c = known or start(l)
  roll(l.n, c)
  for id, g in pairs(grants()) do
    if adopt(l.n, c, g) then redis.call('HSET', GRANTS, id, cmsgpack.pack(g)) end
  end
  local from = -1
  if c.k == 'rate' then
    if not c.ok or c.a == tonumber(l.a) then from = now - c.p end
  elseif c.k ~= 'lease' then
    from = c.b
  end
  if from < 0 then c.ok = true end
  resize(c, tonumber(l.a))
  save()
  return { 'met', now, from, c.c, {}, crossed }
end

-- Brings what the ledger posts into a counter. What was posted here meanwhile may or may not be in it: then it must be
-- asked again, but for `force`.
function todo.seed()
  local l = ask.ls[1]
  local c = counter(l.n)
  if not c then return { 'unseeded' } end
  roll(l.n, c)
  local missed = c.c - tonumber(ask.mark)
  if (missed > 0 and not ask.force) or (c.b and c.b ~= tonumber(ask.from)) then
    save()
    return { 'again', now, c.b or now - c.p, c.c, {}, {} }
  end
  if c.k == 'rate' then
    local takes = {}
    for _, posted in ipairs(ask.posted) do takes[#takes + 1] = { tonumber(posted[1]), tonumber(posted[2]) } end
    for _, g in pairs(grants()) do
      for _, hold in ipairs(g.h) do
        if hold[1] == l.n then takes[#takes + 1] = { g.at, hold[3] } end
      end
    end
    table.sort(takes, function(x, y) return x[1] < y[1] end)
    takes[#takes + 1] = { now, missed }
    local d = { k = 'rate', a = c.a, p = c.p, w = 0, f = 0, t = 0, s = {} }
    for _, taken in ipairs(takes) do
      drain(d, c.a, c.p, taken[1])
      take(d, taken[2], taken[1])
    end
    drain(d, c.a, c.p, now)
    c.s = d.s
    if d.w > c.w or (d.w == c.w and d.f > c.f) then c.w, c.f = d.w, d.f end
  elseif c.k ~= 'lease' then
    local sum = missed
    for _, posted in ipairs(ask.posted) do sum = add(sum, tonumber(posted[2])) end
    c.p = math.max(c.p, sum)
  end
  c.ok = true
  save()
  return { 'seeded', now, 0, 0, {}, {} }
end

return todo[ARGV[1]]()
