# Answers messages with Socket::MsgHdr: each payload in upper case, with a new file for each
# descriptor.

use strict;
use warnings;

use Socket qw(MSG_CTRUNC MSG_TRUNC SCM_RIGHTS SOL_SOCKET);
use Socket::MsgHdr;

sub answer_to {
    my ($fd) = @_;
    open my $file, '<&=', $fd or die "descriptor $fd: $!\n";
    sysseek $file, 0, 0 or die "sysseek: $!\n";
    defined sysread $file, my $content, 100 or die "sysread: $!\n";
    open my $answer, '+>', undef or die "temporary file: $!\n";
    syswrite $answer, "answer to $content" or die "syswrite: $!\n";
    return $answer;
}

while (1) {
    my $message = Socket::MsgHdr->new(buflen => 65536, controllen => 1032);
    defined recvmsg \*STDIN, $message or die "recvmsg: $!\n";
    last if $message->buf eq '';
    die "cut short\n" if $message->flags & (MSG_CTRUNC | MSG_TRUNC);

    my ($level, $type, $fds) = $message->cmsghdr;
    my @answers = map { answer_to($_) } defined $fds ? unpack 'i*', $fds : ();
    my $answer = Socket::MsgHdr->new(buf => uc $message->buf);
    $answer->cmsghdr(SOL_SOCKET, SCM_RIGHTS, pack 'i*', map { fileno $_ } @answers) if @answers;
    sendmsg \*STDIN, $answer or die "sendmsg: $!\n";
}
