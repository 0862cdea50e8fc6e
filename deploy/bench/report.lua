-- A last line for run.sh: requests, requests/s, p50 and p99 in ms, failures (answers above 399, and
-- connections that failed or timed out).
function done(summary, latency)
  local e = summary.errors
  io.write(string.format("RESULT %d %.1f %.3f %.3f %d\n",
    summary.requests, summary.requests / (summary.duration / 1e6),
    latency:percentile(50) / 1000, latency:percentile(99) / 1000,
    e.connect + e.read + e.write + e.timeout + e.status))
end
