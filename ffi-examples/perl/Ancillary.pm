package Ancillary;

# Passes file handles and credentials over Unix sockets: libancillary for Perl.
#
# Sockets are Perl's own handles, and so is what is received. Whatever fails dies with an
# Ancillary::Error. While a call waits no %SIG handler runs; with INTR a signal ends the wait.
#
# SPDX-License-Identifier: MIT OR Apache-2.0

use v5.36;

use Carp ();
use Exporter qw(import);
use Fcntl qw(SEEK_CUR);
use FFI::Platypus 2.00;
use FFI::Platypus::Buffer qw(grow scalar_to_pointer set_used_length);
use Socket qw(SOCK_STREAM);

our @EXPORT_OK = qw(
    listen_at connect_to send_fds recv_fds set_passcred send_creds recv_creds peer_creds
    DONTWAIT INTR WAITALL LOSSLESS REPLACE
);

use constant { DONTWAIT => 1, INTR => 2, WAITALL => 4, LOSSLESS => 8, REPLACE => 16 };

my $ffi = FFI::Platypus->new(api => 2, lib => 'libancillary.so.1');

package Ancillary::Creds {
    use FFI::Platypus::Record;
    record_layout_1($ffi, sint32 => 'pid', uint32 => 'uid', uint32 => 'gid');
}
$ffi->type('record(Ancillary::Creds)*' => 'creds');

my $close_fds = $ffi->function(ancillary_close_fds => ['int[]', 'size_t'] => 'void');

# The other functions return a negative errno value when they fail.
sub attach ($name, $arguments, $type) {
    my $function = $ffi->function("ancillary_$name" => $arguments => $type);
    return sub {
        my $result = $function->call(@_);
        return $result >= 0 ? $result : Ancillary::Error->throw("ancillary_$name", -$result);
    };
}

my $listen       = attach(listen       => [qw(string int uint32 uint)], 'int');
my $connect      = attach(connect      => [qw(string int uint)], 'int');
my $send_fds     = attach(send_fds     => [qw(int int[] size_t opaque size_t uint)], 'ssize_t');
my $recv_fds     = attach(recv_fds     => [qw(int int[] size_t* opaque size_t uint)], 'ssize_t');
my $set_passcred = attach(set_passcred => [qw(int int)], 'int');
my $send_creds   = attach(send_creds   => [qw(int creds opaque size_t uint)], 'ssize_t');
my $recv_creds   = attach(recv_creds   => [qw(int creds opaque size_t uint)], 'ssize_t');
my $peer_creds   = attach(peer_creds   => [qw(int creds)], 'int');

# A listening stream socket, which clients find as soon as there is a file at the path.
sub listen_at ($path, $mode = 0600, $flags = 0) {
    return Ancillary::Owned->new($listen->(whole($path), SOCK_STREAM, $mode, $flags))->handle;
}

sub connect_to ($path, $flags = 0) {
    return Ancillary::Owned->new($connect->(whole($path), SOCK_STREAM, $flags))->handle;
}

# Sends handles, which the sender goes on to own, with a payload, or with a marker byte. Returns how
# many bytes went: all of them, unless the socket does not wait.
sub send_fds ($socket, $handles, $data = '', $flags = 0) {
    # What is still to be written is, and the position goes back to before what has been read ahead:
    # the receiver has no part in Perl's buffers.
    no warnings qw(closed unopened);
    seek $_, 0, SEEK_CUR for @$handles;
    my @fds = map { number_of($_) } @$handles;
    return $send_fds->(number_of($socket), \@fds, scalar @fds, payload($data), $flags);
}

# Receives at most $len bytes and $room handles. Returns the payload, which is empty when the peer
# has closed, and the handles.
sub recv_fds ($socket, $room, $len, $flags = 0) {
    my $owned = Ancillary::Owned->new((-1) x $room);
    grow(my $data, $len);
    my $count = $room;
    my $size = $recv_fds->(
        number_of($socket), $owned, \$count, scalar_to_pointer($data), $len, $flags);
    set_used_length($data, $size);
    return ($data, map { $owned->handle } 1 .. $count);
}

# Asks for credentials with every message.
sub set_passcred ($socket, $on = 1) { $set_passcred->(number_of($socket), $on ? 1 : 0) }

# Sends this process's credentials with a payload, or with a marker byte.
sub send_creds ($socket, $data = '', $flags = 0) {
    return $send_creds->(number_of($socket), undef, payload($data), $flags);
}

# Receives at most $len bytes. Returns the payload, which is empty when the peer has closed, and
# who sent it: pid, uid and gid.
sub recv_creds ($socket, $len, $flags = 0) {
    my $creds = Ancillary::Creds->new;
    grow(my $data, $len);
    my $size = $recv_creds->(number_of($socket), $creds, scalar_to_pointer($data), $len, $flags);
    set_used_length($data, $size);
    return ($data, $creds);
}

# Who is on the other end: pid, uid and gid.
sub peer_creds ($socket) {
    $peer_creds->(number_of($socket), my $creds = Ancillary::Creds->new);
    return $creds;
}

# A path that C does not take for a shorter one.
sub whole ($path) { $path =~ /\0/ ? Carp::croak('The path contains null bytes') : $path }

# A handle that has been closed has none, and undef would be taken for 0.
sub number_of ($handle) { fileno($handle) // -1 }

# Where the bytes of the caller's variable are, and how many.
sub payload {
    utf8::downgrade($_[0]);
    return length $_[0] ? (scalar_to_pointer($_[0]), length $_[0]) : (undef, 0);
}

# Descriptors that no handle has taken yet. They are closed when this goes, which it also does when
# the handler of a signal dies.
package Ancillary::Owned {
    sub new ($class, @fds) { bless [@fds], $class }
    sub DESTROY ($self)    { $close_fds->call($self, scalar @$self) }

    # Has a handle take the next one. Whether it can be read, written or both, the kernel knows.
    # Between shift and open Perl does not run handlers.
    sub handle ($self) {
        my ($fd, $handle) = $self->[0];
        return $handle if open $handle, '+<&=', shift @$self;
        my $errno = $! + 0;
        unshift @$self, $fd;
        Ancillary::Error->throw('fdopen', $errno);
    }
}

# What died says of itself as die does: with the place where this module was called.
package Ancillary::Error {
    our @CARP_NOT = qw(Ancillary Ancillary::Owned);
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
