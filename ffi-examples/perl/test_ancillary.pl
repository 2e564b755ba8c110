# What the wrapper promises beyond what pass.pl shows.
#
# SPDX-License-Identifier: MIT OR Apache-2.0

use v5.36;

use Config;
use Errno qw(E2BIG EAGAIN EBADF EINTR ENOPROTOOPT EPERM);
use FFI::Platypus;
use FindBin;
use POSIX ();
use Test::More;

use lib $FindBin::Bin;
use Ancillary qw(
    listen_at connect_to send_fds recv_fds recv_creds peer_creds DONTWAIT INTR LOSSLESS
    PASSCRED NORIGHTS
);

my $libc = FFI::Platypus->new(api => 2, lib => undef);
$libc->attach(setitimer => ['int', 'long[4]', 'opaque'] => 'int');
$libc->attach([listen => 'set_backlog'] => ['int', 'int'] => 'int');

sub descriptors {
    opendir my $dir, '/proc/self/fd' or die $!;
    return join ' ', sort grep { /\d/ } readdir $dir;
}

# What a call has died of.
sub problem ($call) { eval { $call->(); 1 } ? '' : $@ }

my $before = descriptors();
my $name = "\@ancillary-$$";
my $listener = listen_at($name);
my $ours = connect_to($name);
accept my $theirs, $listener or die $!;
close $listener;

# Does something in another process when this one waits.
sub when_waiting ($do) {
    my $waiter = $$;
    my $pid = fork // die $!;
    return $pid if $pid;
    open my $stat, '<', "/proc/$waiter/stat" or die $!;
    my $line;
    do {
        seek $stat, 0, 0;
        # When the process has gone there is none.
        $line = <$stat> // POSIX::_exit(1);
    } until $line =~ /\) S /;
    $do->($waiter);
    POSIX::_exit(0);
}

subtest 'a file is received at the position to which it has been read' => sub {
    open my $file, '+>', undef or die $!;
    print {$file} "first\nsecond\n";
    seek $file, 0, 0;
    is(<$file>, "first\n");
    send_fds($theirs, [$file]);
    my (undef, $received) = recv_fds($ours, 1, 1);
    is(<$received>, "second\n");
};

subtest 'what is written to a file has come when the file comes' => sub {
    pipe my $reader, my $writer or die $!;
    print {$writer} "early\n";
    send_fds($theirs, [$reader, $writer]);
    close $writer;
    my (undef, $from, $to) = recv_fds($ours, 2, 1);
    is(<$from>, "early\n");
    print {$to} "late\n";
    close $to;
    is(<$from>, "late\n");
    close $from or fail;
};

subtest 'a payload is bytes' => sub {
    my $text = "\xe9t\xe9";
    utf8::upgrade($text);
    is(send_fds($theirs, [], $text), 3);
    is((recv_fds($ours, 0, 10))[0], "\xe9t\xe9");
    like(problem(sub { send_fds($theirs, [], "\x{263a}") }), qr/^Wide character/);
};

subtest 'an error has a number and tells who called' => sub {
    my $problem = problem(sub { recv_fds($ours, 1, 1, DONTWAIT) });
    is($problem->errno, EAGAIN);
    like("$problem", qr/^ancillary_recv_fds: .* at \Q$0\E line @{[__LINE__ - 2]}\.$/);
};

subtest 'a handle that has been closed is no descriptor' => sub {
    open my $file, '<', '/dev/null' or die $!;
    close $file;
    is(problem(sub { send_fds($theirs, [$file]) })->errno, EBADF);
    is(problem(sub { send_fds($file, [$theirs]) })->errno, EBADF);
};

subtest 'a path is not cut' => sub {
    like(problem(sub { connect_to("$name\0more") }), qr/null bytes/);
    like(problem(sub { listen_at("$name\0more") }), qr/null bytes/);
};

subtest 'nor is a number' => sub {
    for my $number (1 << 32, (1 << 32) + DONTWAIT, -1, 1.5, 'x') {
        my @calls = (
            sub { listen_at('/nowhere/at/all', $number) },
            sub { listen_at('/nowhere/at/all', 0600, $number) },
            sub { connect_to('/nowhere/at/all', $number) },
            sub { send_fds($theirs, [], 'data', $number) },
            sub { Ancillary::send_creds($theirs, 'data', $number) },
            sub { recv_fds($ours, 1, 10, $number) },
            sub { Ancillary::recv_creds($ours, 10, $number) },
        );
        like(problem($_), qr/32 bits/) for @calls;
    }
};

subtest 'with INTR a signal ends a call' => sub {
    my $handled = 0;
    local $SIG{USR1} = sub { $handled++ };
    my $pid = when_waiting(sub ($waiter) { kill USR1 => $waiter });
    is(problem(sub { recv_fds($ours, 1, 1, INTR) })->errno, EINTR);
    is($handled, 1);
    waitpid $pid, 0;
};

subtest 'what has come is closed when a handler dies' => sub {
    my $start = descriptors();
    local $SIG{USR1} = sub { die "interrupted\n" };
    # The handler waits for the call to return, which then has brought descriptors.
    my $pid = when_waiting(sub ($waiter) {
        kill USR1 => $waiter;
        send_fds($theirs, [ (*STDIN) x 3 ], 'data');
    });
    is(problem(sub { recv_fds($ours, 3, 10) }), "interrupted\n");
    is(descriptors(), $start);
    waitpid $pid, 0;
};

subtest 'a connection is closed when a handler dies' => sub {
    local $SIG{USR1} = sub { die "interrupted\n" };
    my $listener = listen_at("$name-other");
    # With that there is room for one that is not accepted.
    set_backlog(fileno $listener, 0);
    my $first = connect_to("$name-other");
    my $start = descriptors();
    my $pid = when_waiting(sub ($waiter) {
        kill USR1 => $waiter;
        accept my $socket, $listener;
    });
    is(problem(sub { connect_to("$name-other") }), "interrupted\n");
    is(descriptors(), $start);
    waitpid $pid, 0;
};

subtest 'without loss what there is no room for stays queued' => sub {
    send_fds($theirs, [ (*STDIN) x 2 ], 'data');
    is(problem(sub { recv_fds($ours, 1, 10, LOSSLESS) })->errno, E2BIG);
    is(problem(sub { recv_creds($ours, 10, LOSSLESS) })->errno, E2BIG);
    my ($data, @handles) = recv_fds($ours, 2, 10, LOSSLESS);
    is("$data, " . @handles, 'data, 2');
};

subtest 'options hold for the first message' => sub {
    my $listener = listen_at("$name-other", 0600, PASSCRED);
    my $socket = connect_to("$name-other");
    send_fds($socket, [], 'data');
    accept my $accepted, $listener;
    my ($data, $creds) = recv_creds($accepted, 10);
    is($data, 'data');
    is($creds->pid, $$);
    my $refusing;
    my $problem = problem(sub { $refusing = connect_to("$name-other", NORIGHTS) });
    # Linux has it since 6.16.
    return is($problem->errno, ENOPROTOOPT) if $problem;
    accept $accepted, $listener;
    is(problem(sub { send_fds($accepted, [$accepted]) })->errno, EPERM);
};

subtest 'each thread has its own' => sub {
    plan skip_all => 'this Perl has no threads' unless $Config{useithreads};
    my $program = <<~'END';
        use threads;
        use Ancillary qw(listen_at connect_to send_fds recv_fds peer_creds);
        my $name = "\@ancillary-threads-$$";
        my $listener = listen_at($name);
        my $ours = connect_to($name);
        accept my $theirs, $listener or die $!;
        my @threads = map { threads->create(sub {
            for (1 .. 100) {
                send_fds($theirs, [$listener], 'data');
                my ($data, $handle) = recv_fds($ours, 1, 4);
                die if $data ne 'data' || !-S $handle;
                die if peer_creds($ours)->pid != $$;
            }
            return 1;
        }) } 1 .. 4;
        $_->join or die for @threads;
        print 'done';
        END
    # Perl says there what it finds wrong with its memory.
    my @both = ('sh', '-c', 'exec "$@" 2>&1', 'sh');
    open my $output, '-|', @both, $^X, "-I$FindBin::Bin", '-e', $program or die $!;
    is(join('', <$output>), 'done');
    ok(close $output);
};

subtest 'the module can be loaded again' => sub {
    my @warnings;
    local $SIG{__WARN__} = sub { push @warnings, @_ };
    delete $INC{'Ancillary.pm'};
    ok(eval { require Ancillary }) or diag $@;
    is(peer_creds($ours)->pid, $$);
    is("@warnings", '');
};

# Exceptions come at random moments. Other files are opened then, and must stay open.
subtest 'whenever a handler dies, each descriptor is closed once' => sub {
    my $wanted = $ENV{ANCILLARY_TEST_INTERRUPTIONS} // 1000;
    my $seed = srand($ENV{ANCILLARY_TEST_SEED} // time ^ $$ << 16);
    diag "seed $seed";
    my @warnings;
    local $SIG{__WARN__} = sub { push @warnings, @_ };
    # A handler can run later than its signal comes: where there is nothing to interrupt.
    my $armed = 0;
    local $SIG{ALRM} = sub {
        $armed or return;
        $armed = 0;
        die "interrupted\n";
    };
    my $alarm = sub ($microseconds) { setitimer(0, [0, 0, 0, $microseconds], undef) };
    my @calls = (
        sub { recv_fds($ours, 3, 1) },
        sub {
            my $listener = listen_at("$name-other");
            my $socket = connect_to("$name-other");
            accept my $other, $listener;
        },
    );
    my $start = descriptors();
    my ($faults, $count) = (0, 0);
    while ($count < $wanted) {
        send_fds($theirs, [ (*STDIN) x 3 ]);
        my $died = problem(sub {
            $armed = 1;
            my $died = problem(sub { $alarm->(1 + int rand 100); $calls[rand @calls]->() });
            $armed = 0;
            die $died if $died;
        });
        if ($died) {
            $died eq "interrupted\n" or die $died;
            my @others = map { open my $file, '<', '/dev/null'; $file } 1 .. 8;
            undef $died;
            $faults += grep { !-c $_ } @others;
            $count++;
        }
        # What is still queued.
        1 until problem(sub { recv_fds($ours, 3, 1, DONTWAIT) });
    }
    $alarm->(0);
    is($faults, 0);
    is("@warnings", '');
    is(descriptors(), $start);
};

close $_ for $ours, $theirs;
is(descriptors(), $before, 'no descriptor is left');
done_testing;
