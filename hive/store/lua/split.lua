-- What an earlier Hive kept for all queues together goes to each queue's own; a lease that nobody renews there ends.

for old, new in pairs({[key.old_leases] = key.leases, [key.old_finished] = key.finished}) do
  local members = redis.call('ZRANGE', old, 0, -1, 'WITHSCORES')
  for n = 1, #members, 2 do
    local queue = redis.call('HGET', key.job .. members[n], 'queue')
    if queue then redis.call('ZADD', new .. queue, members[n + 1], members[n]) end
  end
  redis.call('DEL', old)
end
redis.call('DEL', key.old_ids)
