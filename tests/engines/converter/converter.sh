#!/bin/sh
# A converter that does what the first line of the recording says. The rest of the recording is a
# WAV file in base64.
read -r mode
case $mode in
behave) exec base64 -d ;;
reopen) tail -n +2 /proc/self/fd/0 | base64 -d ;;
amid) base64 -d; echo "it broke" >&2; exit 3 ;;
crash-amid) base64 -d; exec python3 -c 'import ctypes; ctypes.string_at(0)' ;;
flood) base64 -d; exec yes ;;
hang) exec sleep 1000 ;;
hang-amid) base64 -d; exec sleep 1000 ;;
spin) while :; do :; done ;;
nothing) ;;
text) echo "this is no sound" ;;
fail) echo "cannot open /etc/secret: no such luck" >&2; exit 1 ;;
silent) exit 7 ;;
crash) exec python3 -c 'import ctypes; ctypes.string_at(0)' ;;
complain) timeout 1 yes "I complain" >&2; exec base64 -d ;;
complain-for-ever) while :; do echo "I complain" >&2; done ;;
child) sleep 1000 >&- 2>&- & exec base64 -d ;;
child-holds-output) sleep 1000 & exec base64 -d ;;
children-for-ever) while :; do sleep 1000 & done ;;
read-file) cat /etc/passwd ;;
read-model) wc -c /usr/share/pocketsphinx/model/en-us/en-us/mdef >&2 && exec base64 -d ;;
list-recordings) ls "$TMPDIR" /tmp ;;
write-file) echo x >/tmp/converter-was-here && exec base64 -d ;;
write-here) echo x >converter-was-here && exec base64 -d ;;
connect) exec python3 -c 'import socket; socket.create_connection(("127.0.0.1", 80))' ;;
local) exec python3 -c 'import socket; socket.socket(socket.AF_UNIX)' ;;
allocate) exec python3 -c 'bytearray(1 << 46)' ;;
greed) exec python3 -c 'print(len(b"x" * (1 << 30)))' ;;
ptrace) exec python3 -c 'import ctypes; ctypes.CDLL(None).ptrace(0, 0, 0, 0)' ;;
kill-job) kill -KILL $PPID || exit 5 ;;
leave-group) setsid sleep 1000 || exit 6 ;;
esac
