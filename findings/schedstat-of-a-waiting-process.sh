#!/usr/bin/env bash
# /proc/PID/schedstat counts a wait for a CPU only when it is over. cpu.pressure counts it at once.
#
# Seen with: Linux 6.18 (x86-64). Run it as root, with cgroup v2 and PSI.
#
# Guess before the run: the second number of /proc/PID/schedstat, the time that a process has spent
# waiting for a CPU, grows while the process waits. So a supervisor that reads it twice can tell a
# process that waits from one that hangs.
#
# Seen: a process that gets no CPU at all for three seconds has the same number after them as
# before, as one that sleeps. The kernel adds a wait when the process gets its CPU. The state in
# /proc/PID/stat is R all the time, and `total` in cpu.pressure of its cgroup grows by the three
# seconds.
#
# Consequence: a supervisor must look at the state as well, or read the pressure of the
# process's cgroup. The latter can also be read where ProtectProc=invisible hides the process.
set -euo pipefail
cgroups=$(findmnt --noheadings --output TARGET --types cgroup2 | head -n 1)
group=$cgroups/finding-$$
mkdir "$group"
trap 'kill $(jobs -p) 2>/dev/null; wait; rmdir "$group"' EXIT

spin='while :; do :; done'
# The first takes the whole CPU. The second takes the rest that the kernel keeps for others.
chrt --fifo 5 taskset --cpu-list 0 timeout 10 bash -c "$spin" &
taskset --cpu-list 0 timeout 10 bash -c "$spin" &
chrt --idle 0 taskset --cpu-list 0 bash -c "echo \$\$ >'$group/cgroup.procs'; $spin" &
waiting=$!
# Longer than an idle process may run before the others have it out of the way.
sleep 2

now() {
    read -r _ delay _ <"/proc/$waiting/schedstat"
    pressure=$(sed -n 's/^some .*total=//p' "$group/cpu.pressure")
}
now
before=$delay start=$pressure
sleep 3
now
state=$(sed 's/.*) \(.\).*/\1/' "/proc/$waiting/stat")
printf 'schedstat: %d s, state %s, cpu.pressure: %d s\n' $(((delay - before) / 1000000000)) "$state" \
    $(((pressure - start + 500000) / 1000000)) | tee /dev/stderr | diff - <(
    echo 'schedstat: 0 s, state R, cpu.pressure: 3 s'
)
