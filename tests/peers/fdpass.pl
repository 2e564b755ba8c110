# Answers each descriptor with a new file, with IO::FDPass.

use strict;
use warnings;

use IO::FDPass;
use Socket qw(MSG_PEEK);

while (1) {
    # IO::FDPass does not tell the end from a byte without a descriptor.
    defined recv STDIN, my $next, 1, MSG_PEEK or die "recv: $!\n";
    last if $next eq '';
    my $fd = IO::FDPass::recv fileno STDIN;
    open my $file, '<&=', $fd or die "descriptor $fd: $!\n";
    sysseek $file, 0, 0 or die "sysseek: $!\n";
    defined sysread $file, my $content, 100 or die "sysread: $!\n";
    open my $answer, '+>', undef or die "temporary file: $!\n";
    syswrite $answer, "answer to $content" or die "syswrite: $!\n";
    IO::FDPass::send fileno STDIN, fileno $answer or die "send: $!\n";
}
