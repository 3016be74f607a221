# shellcheck shell=bash
# Starts one virtual machine, without KVM and without a network, and follows its cases until the
# last one is reported.

boot_patience=240 # seconds until the first word from inside; 15 to 20 are usual
case_grace=90     # seconds beyond a case's own limit, which is enforced inside

# A panic must end the machine. The emulated time stamp counter can be trusted; with the clock that
# the kernel would choose instead, every reading of the time would cost a system call. Mitigations
# and file system checks only cost time here.
kernel_arguments="root=/dev/vda rw console=ttyS0 loglevel=4 panic=-1 tsc=reliable mitigations=off fsck.mode=skip"
# The machine id is set from outside, so that no boot is a first boot. An emulated timer may be late
# when the kernel checks it.
kernel_arguments+=" no_timer_check systemd.machine_id=5774697372656d6f746c796b696e6421 systemd.show_status=no TERM=dumb"

# QEMU's command line, in the array `qemu`. Results go to $1, everything else into the folder.
machine_command() {
    local suite=$1 folder=$2 results=$3 console=$4 image
    image=$(image_folder "$suite")
    # shellcheck disable=SC2054  # the commas are QEMU's
    qemu=(
        setpriv --pdeathsig KILL env "TMPDIR=$folder"
        # Without cmpxchg16b: QEMU 7.2 (Debian 12) sometimes gets its flags wrong, and Linux 6.12's
        # allocator uses it.
        qemu-system-x86_64 -machine q35 -accel tcg,thread=multi -cpu max,-cx16 -smp 2 -m 2G
        -nodefaults -no-user-config -no-reboot -display none -nic none
        -kernel "$image/vmlinuz" -initrd "$image/initrd"
        -append "$kernel_arguments"
        -drive "if=virtio,format=raw,file=$image/root.img,snapshot=on"
        -drive "if=virtio,format=raw,file=$folder/payload.img,readonly=on"
        -device virtio-serial-pci
        -chardev "file,id=results,path=$results" -device virtserialport,chardev=results,name=vm.results
        -chardev "file,id=journal,path=$folder/journal.log" -device virtserialport,chardev=journal,name=vm.journal
    )
    case $console in
    log) qemu+=(-serial "file:$folder/console.log") ;;
    terminal)
        qemu+=(-chardev "stdio,id=console,mux=on,signal=off,logfile=$folder/console.log")
        qemu+=(-serial chardev:console -mon chardev=console)
        ;;
    esac
}

# run_suite SUITE CASE…: the result of each case goes to the file `outcomes` in the suite's folder.
run_suite() {
    local suite=$1 folder=$state/$1 began=$SECONDS
    shift
    pack_payload "$folder/payload.img" no "$@"

    local qemu results pid
    machine_command "$suite" "$folder" /dev/fd/1 log
    exec {results}< <(exec "${qemu[@]}" 2>"$folder/qemu.log" </dev/null)
    pid=$!
    # shellcheck disable=SC2064  # this pid, not a later one
    trap "kill $pid 2>/dev/null || true" EXIT
    follow_machine "$suite" "$folder" "$results"
    kill "$pid" 2>/dev/null || true
    wait "$pid" || true
    exec {results}<&-
    say "$suite: machine gone after $((SECONDS - began)) s"
}

# The same machine on this terminal: first the cases, then a shell on its console.
run_suite_on_terminal() {
    local suite=$1 folder=$state/$1 qemu
    shift
    pack_payload "$folder/payload.img" yes "$@"
    machine_command "$suite" "$folder" "$folder/results.log" terminal
    say "after the cases: a root shell; Ctrl-A X ends the machine"
    "${qemu[@]}"
}
