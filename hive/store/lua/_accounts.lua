-- The specification is JSON that begins with capability and task; all of it need not be read for a name.
local function task_of(specification)
  return string.match(specification, '"task":"([^"]*)"') or 'unknown'
end

-- An attempt ends: its share of its worker's price goes to its job, and to the accounts of the days on which it ran.
-- The slot's price is in the record as long as an attempt is to be paid, so that none is paid twice.
local function pay(job, ms)
  local fields = redis.call('HMGET', job, 'slot_usd_per_h', 'started_ms', 'worker', 'specification', 'cost_usd')
  local price_usd_per_h, started, worker, specification, cost = unpack(fields)
  if not price_usd_per_h then return end
  redis.call('HDEL', job, 'slot_usd_per_h')
  local task, price, from = task_of(specification), tonumber(price_usd_per_h), math.min(tonumber(started), ms)
  if not price then
    redis.call('HSET', job, 'cost_usd', 'null')
    redis.call('HINCRBY', key.shares, 'unknown ' .. math.floor(ms / DAY_MS) .. ' ' .. task .. ' ' .. worker, 1)
    return
  end
  repeat
    local day = math.floor(from / DAY_MS)
    local till = math.min(ms, (day + 1) * DAY_MS)
    local usd = string.format('%.12f', (till - from) * price / 3600000)
    redis.call('HINCRBYFLOAT', key.spent, 'run ' .. day, usd)
    redis.call('HINCRBYFLOAT', key.shares, 'run ' .. day .. ' ' .. task .. ' ' .. worker, usd)
    redis.call('HINCRBYFLOAT', key.totals, 'usd ' .. task, usd)
    if cost ~= 'null' then redis.call('HINCRBYFLOAT', job, 'cost_usd', usd) end
    from = till
  until from >= ms
end

-- Counts a job's end, and its run time by the bounds of the histogram.
local function count_end(specification, started, cost, ms, state)
  local task = task_of(specification)
  redis.call('HINCRBY', key.totals, 'ended ' .. task .. ' ' .. state, 1)
  if started then
    local run_ms, within = ms - started, 'inf'
    for _, bound in ipairs(RUN_BOUNDS_S) do
      if run_ms <= bound * 1000 then within = bound break end
    end
    redis.call('HINCRBY', key.totals, 'run ' .. task .. ' ' .. within, 1)
    redis.call('HINCRBY', key.totals, 'run_ms ' .. task, run_ms)
  end
  if cost and cost ~= 'null' then redis.call('HINCRBY', key.totals, 'priced ' .. task, 1) end
end
