-- KEYS: who sweeps a queue, for each. ARGV: worker, for how long [ms], lease [ms], for how long [ms] a worker is there
-- after its last report, the lists that these queues are made of. Takes the queues that nobody else sweeps. Returns how
-- many workers there are, how many messages wait, and for each queue 1 or 0.
-- include _pulse

local ms = now()
pulse(ms, tonumber(ARGV[3]))
local answer = {redis.call('ZCOUNT', key.workers, (ms - ARGV[4]) / 1000, '+inf'), 0}
for n = 5, #ARGV do answer[2] = answer[2] + redis.call('LLEN', ARGV[n]) end
for n, name in ipairs(KEYS) do
  local sweeper = redis.call('GET', name)
  local is_mine = not sweeper or sweeper == ARGV[1]
  if is_mine then redis.call('SET', name, ARGV[1], 'PX', ARGV[2]) end
  answer[n + 2] = is_mine and 1 or 0
end
return answer
