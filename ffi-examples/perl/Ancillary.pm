# SPDX-License-Identifier: MIT OR Apache-2.0

package Ancillary;

use v5.36;

use Carp ();
use Exporter qw(import);
use Fcntl qw(SEEK_CUR);
use FFI::Platypus 2.00;
use FFI::Platypus::Buffer qw(grow scalar_to_pointer set_used_length);
use Socket qw(SOCK_STREAM);

# Who loads it again has a reason.
no warnings qw(redefine);

our @EXPORT_OK = qw(
    listen_at connect_to send_fds recv_fds set_passcred send_creds recv_creds peer_creds
    DONTWAIT INTR WAITALL LOSSLESS REPLACE PASSCRED PASSPIDFD NORIGHTS
);

use constant {
    DONTWAIT => 0x40,
    INTR     => 0x80000,
    WAITALL  => 0x100,
    LOSSLESS => 0x100000,

    REPLACE   => 1,
    PASSCRED  => 2,
    PASSPIDFD => 4,
    NORIGHTS  => 8,
};

# The functions of the library. They are attached, and the object that does it goes: unlike these, its
# kind is freed again with each thread that has got a copy. They stay when this is loaded again.
{
    my $ffi = FFI::Platypus->new(api => 2, lib => 'libancillary.so.1');
    my $declare = sub ($name, @types) {
        return if Ancillary::C->can($name);
        $ffi->attach(["ancillary_$name" => "Ancillary::C::$name"] => @types);
    };

    # A struct ancillary_creds is three numbers.
    $ffi->type('uint32[3]' => 'creds');

    $declare->(listen       => [qw(string int uint32 uint)] => 'int');
    $declare->(connect      => [qw(string int uint)] => 'int');
    $declare->(send_fds     => [qw(int int[] size_t opaque size_t uint)] => 'ssize_t');
    $declare->(recv_fds     => [qw(int int[] size_t* opaque size_t uint)] => 'ssize_t');
    $declare->(close_fds    => [qw(int[] size_t)] => 'void');
    $declare->(set_passcred => [qw(int int)] => 'int');
    $declare->(send_creds   => [qw(int opaque opaque size_t uint)] => 'ssize_t');
    $declare->(recv_creds   => [qw(int creds opaque size_t uint)] => 'ssize_t');
    $declare->(peer_creds   => [qw(int creds)] => 'int');
}

sub listen_at ($path, $mode = 0600, $flags = 0) {
    whole($path);
    my ($handle) = owning(1, sub ($fds) {
        $fds->[0] = Ancillary::C::listen($path, SOCK_STREAM, word($mode), word($flags));
        check('listen', $fds->[0]);
    });
    return $handle;
}

sub connect_to ($path, $flags = 0) {
    whole($path);
    my ($handle) = owning(1, sub ($fds) {
        $fds->[0] = Ancillary::C::connect($path, SOCK_STREAM, word($flags));
        check('connect', $fds->[0]);
    });
    return $handle;
}

sub send_fds ($socket, $handles, $data = '', $flags = 0) {
    # What is still to be written is, and the position goes back to before what has been read ahead:
    # the receiver has no part in Perl's buffers.
    no warnings qw(closed unopened);
    seek $_, 0, SEEK_CUR for @$handles;
    my @fds = map { number_of($_) } @$handles;
    return check('send_fds',
        Ancillary::C::send_fds(number_of($socket), \@fds, scalar @fds, payload($data), word($flags)));
}

sub recv_fds ($socket, $room, $len, $flags = 0) {
    grow(my $data, $len);
    my $count = $room;
    my @handles = owning($room, sub ($fds) {
        my $size = check('recv_fds', Ancillary::C::recv_fds(
            number_of($socket), $fds, \$count, scalar_to_pointer($data), $len, word($flags)));
        set_used_length($data, $size);
    });
    return ($data, @handles);
}

sub set_passcred ($socket, $on = 1) {
    check('set_passcred', Ancillary::C::set_passcred(number_of($socket), $on ? 1 : 0));
    return;
}

sub send_creds ($socket, $data = '', $flags = 0) {
    return check('send_creds',
        Ancillary::C::send_creds(number_of($socket), undef, payload($data), word($flags)));
}

sub recv_creds ($socket, $len, $flags = 0) {
    my @creds = (0) x 3;
    grow(my $data, $len);
    my $size = check('recv_creds', Ancillary::C::recv_creds(
        number_of($socket), \@creds, scalar_to_pointer($data), $len, word($flags)));
    set_used_length($data, $size);
    return ($data, Ancillary::Creds->new(@creds));
}

sub peer_creds ($socket) {
    my @creds = (0) x 3;
    check('peer_creds', Ancillary::C::peer_creds(number_of($socket), \@creds));
    return Ancillary::Creds->new(@creds);
}

# Handles for the descriptors that a call puts into an array: all of them, or it closes them. The
# handler of a signal runs between many steps and can die; but not between the return from C and the
# array, nor between shift and open. (In a destructor it would be lost that it has died.)
sub owning ($room, $call) {
    my @fds = (-1) x $room;
    my @handles;
    {
        local $@;
        return @handles if eval {
            $call->(\@fds);
            while (@fds && $fds[0] >= 0) {
                # Whether it can be read, written or both, the kernel knows.
                my $fd = $fds[0];
                open $handles[@handles], '+<&=', shift @fds or do {
                    my $errno = $! + 0;
                    unshift @fds, $fd;
                    fail('fdopen', $errno);
                };
            }
            1;
        };
        Ancillary::C::close_fds(\@fds, scalar @fds);
        @fds = $@;
    }
    die $fds[0];
}

# A function of the library returns a negative errno value when it fails.
sub check ($name, $result) { $result >= 0 ? $result : fail("ancillary_$name", -$result) }

sub fail ($call, $errno) { Ancillary::Error->throw($call, $errno) }

# A path that C does not take for a shorter one.
sub whole ($path) { $path =~ /\0/ and Carp::croak('The path contains null bytes') }

# A mode or flags, of which C would take the lower half only, or a part. What is false is 0.
sub word ($number) {
    return 0 if !$number;
    return 0 + $number if $number =~ /\A[0-9]+\z/ && $number <= 0xffffffff;
    Carp::croak("\"$number\" is no integer of 32 bits");
}

# A handle that has been closed has none, and undef would be taken for 0.
sub number_of ($handle) { fileno($handle) // -1 }

# Where the bytes of the caller's variable are, and how many.
sub payload {
    utf8::downgrade($_[0]);
    return length $_[0] ? (scalar_to_pointer($_[0]), length $_[0]) : (undef, 0);
}

package Ancillary::Creds {
    sub new ($class, $pid, $uid, $gid) { bless { pid => $pid, uid => $uid, gid => $gid }, $class }
    sub pid ($self)                    { $self->{pid} }
    sub uid ($self)                    { $self->{uid} }
    sub gid ($self)                    { $self->{gid} }
}

# What died says of itself as die does: with the place where this module was called.
package Ancillary::Error {
    our @CARP_NOT = qw(Ancillary);
    use overload '""' => sub ($self, @) { "$self->{call}: $self->{message}$self->{place}" },
        fallback => 1;

    sub throw ($class, $call, $errno) {
        local $! = $errno;
        my %error = (call => $call, errno => $errno, message => "$!", place => Carp::shortmess(''));
        die bless \%error, $class;
    }
    sub errno ($self)   { $self->{errno} }
    sub message ($self) { $self->{message} }
}

1;

__END__

=encoding utf8

=head1 NAME

Ancillary - file handles and credentials over Unix sockets, with libancillary

=head1 SYNOPSIS

    use Ancillary qw(listen_at connect_to send_fds recv_fds REPLACE);

    my $listener = listen_at('/run/example', 0600, REPLACE);    # one process
    accept my $socket, $listener or die $!;
    my ($data, $file) = recv_fds($socket, 1, 4096);
    print $data, <$file>;

    my $socket = connect_to('/run/example');                    # another
    open my $file, '<', '/etc/hostname' or die $!;
    send_fds($socket, [$file], 'a name');

=head1 DESCRIPTION

Sockets are Perl's own handles, and so is what is sent and what is received. A handle that has been
received is close-on-exec, and is for reading, writing or both as the sender's is. Both have one
position in the file: sending writes what is still in Perl's buffer, and goes back to before what
has been read ahead.

=head1 FUNCTIONS

=over

=item listen_at($path, $mode = 0600, $flags = 0)

A listening stream socket, which clients find as soon as there is a file at the path. A path that
begins with @ is an abstract name, without a file. The mode says the permissions of the file, less
the umask; with C<REPLACE> a file that nobody listens on gives way.

=item connect_to($path, $flags = 0)

A connected stream socket.

=item send_fds($socket, $handles, $data = '', $flags = 0)

Sends handles, which the sender goes on to own, with a payload, or with a byte of zero for each
message that it takes. Returns how many bytes went: all of them, unless the socket does not wait.

=item recv_fds($socket, $room, $len, $flags = 0)

Receives at most $len bytes and $room handles. Returns the payload, which is empty when the peer has
closed, and the handles.

=item set_passcred($socket, $on = 1)

Asks for credentials with every message.

=item send_creds($socket, $data = '', $flags = 0)

Sends this process's credentials with a payload, or with a byte of zero.

=item recv_creds($socket, $len, $flags = 0)

Receives at most $len bytes. Returns the payload, which is empty when the peer has closed, and who
sent it, with the methods pid, uid and gid.

=item peer_creds($socket)

Who is on the other end, with the same methods.

=back

=head1 FLAGS

C<DONTWAIT>: the call does not wait. C<INTR>: a signal ends the wait. C<WAITALL>: it receives until
$len bytes have come or the peer has closed. C<LOSSLESS>: what there is too little room for stays
queued, and can be received later. C<REPLACE>: for listen_at.

For listen_at and connect_to, holding for the first message already, and inherited by what accept
returns: C<PASSCRED> (credentials come with each message), C<PASSPIDFD> (a pidfd comes, for who
receives with other functions) and C<NORIGHTS> (handles are refused, and sending them is EPERM). One
that the kernel does not have is ENOPROTOOPT.

=head1 ERRORS

Whatever fails dies with an Ancillary::Error, whose methods are C<errno> and C<message>, and which
reads as a message with the place of the call: EAGAIN (a call with C<DONTWAIT> came too early), EINTR
(one with C<INTR> was interrupted), E2BIG (more handles came than there is room for), EMFILE (more
than the process can have open), EPIPE (the peer has closed), ENOMSG (a message without
credentials). What came with such a message is closed. What C cannot be given (a path with a null
byte, flags that are no integer of 32 bits) dies with a message alone.

=head1 SIGNALS

A call that waits holds up the whole program, and handlers in C<%SIG> with it; with C<INTR> a signal
ends the wait. A handler that dies, in whatever line, has what has come closed, each descriptor once.
That does not hold for handlers that run at once (C<PERL_SIGNALS=unsafe>, or POSIX::SigAction without
C<safe>), which break into the library itself.

=head1 NEEDS

Perl 5.36 or newer, FFI::Platypus 2, and libancillary.so.1 where the system's loader looks for it.

=cut
