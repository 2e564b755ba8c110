# What the wrapper promises beyond what pass.pl shows.
#
# SPDX-License-Identifier: MIT OR Apache-2.0

use v5.36;

use Errno qw(EAGAIN EBADF EINTR);
use FindBin;
use POSIX ();
use Test::More;

use lib $FindBin::Bin;
use Ancillary qw(listen_at connect_to send_fds recv_fds DONTWAIT INTR);

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

close $_ for $ours, $theirs;
is(descriptors(), $before, 'no descriptor is left');
done_testing;
