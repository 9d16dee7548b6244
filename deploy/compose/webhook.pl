#!/usr/bin/env perl
# What alerts are sent to in tests of docker-compose.yml: prints the path and the body of each, a line each, and answers 200.
# Perl, since it is in every Debian image.
use strict;
use warnings;
use IO::Socket::INET;

$| = 1;
my $door = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 9099, Listen => 16, ReuseAddr => 1)
    or die "cannot listen on port 9099: $@\n";
while (my $caller = $door->accept) {
    my $first = <$caller> // '';
    my $length = 0;
    while (defined(my $line = <$caller>)) {
        last if $line =~ /^\r?\n$/;
        $length = $1 if $line =~ /^content-length:\s*(\d+)/i;
    }
    my $body = '';
    read($caller, $body, $length) if $length;
    $body =~ s/[\r\n]+/ /g;
    print "$1 $body\n" if $first =~ m{^POST (\S+)};
    print $caller "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    close $caller;
}
