# Passes files from one process to another; ../README.md says what it does.
#
# SPDX-License-Identifier: MIT OR Apache-2.0

use v5.36;

use Fcntl qw(O_CREAT O_EXCL O_RDWR);
use File::Spec;
use FindBin;
use lib $FindBin::Bin;

use Ancillary qw(
    listen_at connect_to send_fds recv_fds set_passcred send_creds recv_creds peer_creds
    WAITALL REPLACE
);

use constant ROOM => 65536;

my ($command, @arguments) = @ARGV;
my ($failed, $made) = 0;
END { unlink $made if defined $made }

# Does something whose failure ends nothing else.
sub attempt ($do) {
    return if eval { $do->(); 1 };
    my $why = ref $@ ? $@->message : $@ =~ s/\n\z//r;
    print STDERR "$command: $why\n";
    $failed = 1;
}

sub temporary_file ($content) {
    # Perl's own temporary files do not tell why there is none.
    my $name = File::Spec->tmpdir . "/pass-$$";
    sysopen my $file, $name, O_RDWR | O_CREAT | O_EXCL, 0600 or die "$!\n";
    unlink $name;
    print {$file} $content and seek $file, 0, 0 or die "$!\n";
    return $file;
}

sub send_one ($socket, $count, $payload) {
    my @files = map { temporary_file("file $_ of $count, made by $$\n") } 1 .. $count;
    my $size = $count ? send_fds($socket, \@files, $payload) : send_creds($socket, $payload);
    close $_ for @files, $socket;
    say "sent $count descriptors, $size bytes";
}

sub send_files ($path, $count, $payload = '') {
    return send_one(connect_to($path), $count, $payload) if $payload ne '-';
    while (1) {
        my $socket = connect_to($path);
        chomp(my $line = <STDIN> // last);
        attempt(sub { send_one($socket, $count, $line) });
    }
}

# Accepts connections and does something for each.
sub serve ($path, $times, $do) {
    my $listener = listen_at($path, 0600, REPLACE);
    $made = $path;
    for (1 .. $times) {
        accept my $socket, $listener or die "$!\n";
        say 'accepted';
        attempt(sub { $do->($socket) });
        close $socket;
        say 'done';
    }
}

sub receive_files ($path, $max, $times = 1) {
    serve $path, $times, sub ($socket) {
        my ($payload, @files) = recv_fds($socket, $max, ROOM, WAITALL);
        die "The peer has closed\n" if $payload eq '';
        printf "received %d descriptors, %d bytes\n", scalar @files, length $payload;
        say "payload: $payload";
        for my $file (@files) {
            local $/;
            print <$file> // die "$!\n";
        }
    };
}

sub identity ($creds) { sprintf 'pid %d uid %d gid %d', $creds->pid, $creds->uid, $creds->gid }

sub receive_creds ($path, $times = 1) {
    serve $path, $times, sub ($socket) {
        set_passcred($socket);
        my ($payload, $creds) = recv_creds($socket, ROOM);
        die "The peer has closed\n" if $payload eq '';
        printf "%s, %d bytes\npayload: %s\n", identity($creds), length $payload, $payload;
    };
}

sub print_peer ($path) { say identity(peer_creds(connect_to($path))) }

my %commands = (    # with the least and the most of arguments
    send  => [\&send_files,    2, 3],
    recv  => [\&receive_files, 2, 3],
    creds => [\&receive_creds, 1, 2],
    peer  => [\&print_peer,    1, 1],
);

sub usage {
    print STDERR <<'END';
Usage: pass send SOCKET N [PAYLOAD]
       pass recv SOCKET MAX [TIMES]
       pass creds SOCKET [TIMES]
       pass peer SOCKET
END
    exit 2;
}

my ($do, $least, $most) = @{ $commands{ $command // '' } // usage };
my @numbers = $command eq 'send' ? $arguments[1] // '' : @arguments[1 .. $#arguments];
usage if @arguments < $least || @arguments > $most || grep { !/\A\d+\z/a } @numbers;
STDOUT->autoflush;
attempt(sub { $do->(@arguments) });
exit $failed;
