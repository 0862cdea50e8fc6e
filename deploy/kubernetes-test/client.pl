#!/usr/bin/perl
# client.pl HOST PORT: asks the service all the time, and counts every request that did not get its answer.
#
# Perl, because the postgres image has it and the pod that runs this needs no image of its own. CLIENTS
# processes write a snapshot and read one, in turn: half of them over a connection that they keep for as long as
# the service does, half over a new one for each request, as they come through a Service. Nothing is tried
# again. Ends when the file $STOP appears, with one line for the script that reads it:
#
#   requests=N failed=N accepted=N longest_ms=N outage_ms=N
#
# `accepted` are the snapshots that the service said it has stored; each is a row with source SOURCE.
# `outage_ms` is the time from the first failure to the last one.
use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;
use POSIX qw(strftime);
use Time::HiRes qw(time sleep);

my ($host, $port) = @ARGV;
my $clients = $ENV{CLIENTS} || 8;
my $pause = $ENV{PAUSE} || 0.02;
my $stop = $ENV{STOP} || '/tmp/stop';
my $source = $ENV{SOURCE} || 'client';
# As long as the service itself gives a request (HTTP_REQUEST_TIMEOUT).
my $patience = 30;
$| = 1;
$SIG{PIPE} = 'IGNORE';

# connect_to: a connection, or dies.
sub connect_to {
    return IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port, Proto => 'tcp', Timeout => $patience)
      || die "no connection: $@\n";
}

# more SOCKET, BUFFER: reads on, or dies.
sub more {
    my ($socket, $buffer) = @_;
    IO::Select->new($socket)->can_read($patience) or die "no answer within $patience s\n";
    my $read = sysread($socket, $$buffer, 65536, length $$buffer);
    defined $read or die "the connection broke: $!\n";
    $read or die 'the connection ended ' . (length $$buffer ? "within the answer\n" : "without an answer\n");
}

# ask SOCKET, METHOD, PATH, TOKEN, BODY: the status, the body, and whether the connection ends with it.
sub ask {
    my ($socket, $method, $path, $token, $body) = @_;
    my $head = "$method $path HTTP/1.1\r\nHost: $host\r\nAccept: application/json\r\n";
    $head .= "Authorization: Bearer $token\r\n" if $token;
    $head .= "Content-Type: application/json\r\nContent-Length: " . length($body) . "\r\n" if defined $body;
    my $request = "$head\r\n" . ($body // '');
    my $written = syswrite($socket, $request);
    defined $written && $written == length $request or die "the request could not be sent: $!\n";
    my $buffer = '';
    more($socket, \$buffer) until $buffer =~ /\r\n\r\n/;
    my ($headers, $rest) = split /\r\n\r\n/, $buffer, 2;
    my ($status) = $headers =~ m{^HTTP/1\.1 (\d{3})} or die "that is no HTTP: $headers\n";
    if ($headers =~ /^content-length: *(\d+)/im) {
        my $length = $1;
        more($socket, \$rest) until length $rest >= $length;
    } elsif ($headers =~ /^transfer-encoding: *chunked/im) {
        more($socket, \$rest) until $rest =~ /(^|\r\n)0\r\n\r\n\z/;
    }
    return ($status, $rest, $headers =~ /^connection: *close/im ? 1 : 0);
}

# sign_in: a token. Tries for as long as the service is not there yet, before anything is counted.
sub sign_in {
    my $body = qq({"username":"$ENV{USERNAME}","password":"$ENV{PASSWORD}"});
    my $why = '';
    for (1 .. 60) {
        my ($status, $answer) = eval { ask(connect_to(), 'POST', '/api/v1/auth/login', undef, $body) };
        return $1 if ($status // 0) == 200 && $answer =~ /"token" *: *"([^"]+)"/;
        $why = $@ || "$status $answer";
        sleep 1;
    }
    die "nobody could sign in: $why\n";
}

# work NUMBER, TOKEN: asks until the end; the figures of this process.
sub work {
    my ($number, $token) = @_;
    my $keeps = $number % 2;
    my %of = (requests => 0, failed => 0, accepted => 0, longest => 0, first => 0, last => 0);
    my $socket;
    until (-e $stop) {
        my $writes = $of{requests} % 2 == 0;
        my $now = strftime('%Y-%m-%dT%H:%M:%SZ', gmtime);
        my $body = qq({"items":[{"timestamp":"$now","source":"$source","metric_type":"client","metric_data":{"client":$number,"request":$of{requests}}}]});
        my $started = time;
        my ($status, $answer, $closes) = eval {
            $socket //= connect_to();
            $writes ? ask($socket, 'POST', '/api/v1/metrics/snapshots', $token, $body)
              : ask($socket, 'GET', "/api/v1/metrics/latest?metric_type=client", $token);
        };
        my $error = $@;
        my $took = time - $started;
        $of{requests}++;
        $of{longest} = $took if $took > $of{longest};
        if ($error || $status != 200) {
            chomp $error;
            $of{failed}++;
            $of{first} ||= $started;
            $of{last} = time;
            printf "%s client %d, %s: %s\n", strftime('%H:%M:%S', gmtime), $number, ($keeps ? 'kept' : 'new'),
              $error || "$status " . substr($answer, 0, 200);
            undef $socket;
        } else {
            $of{accepted}++ if $writes;
            undef $socket if $closes || !$keeps;
        }
        sleep $pause;
    }
    return \%of;
}

my $token = sign_in();
print "signed in\n";
my @pipes;
for my $number (0 .. $clients - 1) {
    pipe(my $reader, my $writer) or die $!;
    my $process = fork() // die $!;
    if (!$process) {
        close $reader;
        my $of = work($number, $token);
        print $writer join(' ', map { "$_=$of->{$_}" } sort keys %$of), "\n";
        exit 0;
    }
    close $writer;
    push @pipes, $reader;
}
my %all = (requests => 0, failed => 0, accepted => 0, longest => 0, first => 0, last => 0);
for my $reader (@pipes) {
    my %of = map { split /=/ } split ' ', (<$reader> // die "a client ended early\n");
    $all{$_} += $of{$_} for qw(requests failed accepted);
    $all{longest} = $of{longest} if $of{longest} > $all{longest};
    $all{first} = $of{first} if $of{first} && (!$all{first} || $of{first} < $all{first});
    $all{last} = $of{last} if $of{last} > $all{last};
}
1 while wait() > 0;
printf "requests=%d failed=%d accepted=%d longest_ms=%d outage_ms=%d\n", @all{qw(requests failed accepted)},
  $all{longest} * 1000, ($all{last} - $all{first}) * 1000;
