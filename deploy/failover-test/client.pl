#!/usr/bin/perl
# client.pl load FOLDER | figures FOLDER: clients that write while the database's leader changes.
#
# `load` asks the service at ADDRESS (host:port) until the file FOLDER/stop appears. CLIENTS processes write a
# snapshot each time, with an Idempotency-Key, and send what was not acknowledged again, with the same key, until
# it is. One more process asks /readyz all the time. Each writes what it saw to a file of its own in FOLDER:
#
#   BEGIN END STATUS NUMBER     times in seconds, the status (000: no answer), the number of the client's write
#
# `figures` reads these, FOLDER/killed (when the leader was told to go), FOLDER/probe (lines `END ok|no` of writes
# to the database itself) and FOLDER/rows (lines `SOURCE NUMBER COUNT` of what the database has in the end), prints
# what happened, and ends with 1 when something acknowledged is missing, something is there twice, or somebody
# waited for longer than LIMIT seconds for their first acknowledged write since the new leader took writes.
use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;
use POSIX qw(strftime);
use Time::HiRes qw(time sleep);

my ($verb, $folder) = @ARGV;
die "client.pl load|figures FOLDER\n" if !defined $folder;
my $clients = $ENV{CLIENTS} || 20;
# Longer than the service itself gives a request (HTTP_REQUEST_TIMEOUT).
my $patience = 35;
$SIG{PIPE} = 'IGNORE';

# more SOCKET, BUFFER: reads on, or dies.
sub more {
    my ($socket, $buffer) = @_;
    IO::Select->new($socket)->can_read($patience) or die "no answer within $patience s\n";
    my $read = sysread($socket, $$buffer, 65536, length $$buffer);
    die "the connection broke\n" if !$read;
}

# ask METHOD, PATH, HEADERS, BODY: the status and the body, over a connection of its own.
sub ask {
    my ($method, $path, $headers, $body) = @_;
    my $socket = IO::Socket::INET->new(PeerAddr => $ENV{ADDRESS}, Proto => 'tcp', Timeout => $patience)
      || die "no connection: $@\n";
    my $head = "$method $path HTTP/1.1\r\nHost: $ENV{ADDRESS}\r\nConnection: close\r\n$headers";
    $head .= "Content-Type: application/json\r\nContent-Length: " . length($body) . "\r\n" if defined $body;
    my $request = "$head\r\n" . ($body // '');
    my $written = syswrite($socket, $request);
    defined $written && $written == length $request or die "the request could not be sent\n";
    my $buffer = '';
    more($socket, \$buffer) until $buffer =~ /\r\n\r\n/;
    my ($answer, $rest) = split /\r\n\r\n/, $buffer, 2;
    my ($status) = $answer =~ m{^HTTP/1\.1 (\d{3})} or die "that is no HTTP\n";
    if ($answer =~ /^content-length: *(\d+)/im) {
        my $length = $1;
        more($socket, \$rest) until length $rest >= $length;
    }
    return ($status, $rest);
}

# timed FILE, NUMBER, ASK...: asks, writes down how it went, and returns the status.
sub timed {
    my ($file, $number, @ask) = @_;
    my $begin = time;
    my ($status) = eval { ask(@ask) };
    $status //= '000';
    printf $file "%.3f %.3f %s %d\n", $begin, time, $status, $number;
    return $status;
}

# in_process NAME, WORK: runs it with a file of that name until it returns.
sub in_process {
    my ($name, $work) = @_;
    my $process = fork() // die $!;
    return if $process;
    open(my $file, '>', "$folder/$name") or die "$folder/$name: $!\n";
    $file->autoflush(1);
    $work->($file);
    close $file or die $!;
    exit 0;
}

sub load {
    my ($status, $answer) =
      ask('POST', '/api/v1/auth/login', '', qq({"username":"admin","password":"$ENV{PASSWORD}"}));
    my ($token) = $answer =~ /"token" *: *"([^"]+)"/ or die "nobody could sign in: $status $answer\n";
    for my $client (1 .. $clients) {
        in_process("client-$client", sub {
            my ($file) = @_;
            for (my $number = 1; !-e "$folder/stop"; $number++) {
                my $now = strftime('%Y-%m-%dT%H:%M:%SZ', gmtime);
                my $body = qq({"items":[{"timestamp":"$now","source":"client-$client","metric_type":"failover","metric_data":{"number":$number}}]});
                my $headers = "Authorization: Bearer $token\r\nIdempotency-Key: $$-$client-$number\r\n";
                until (timed($file, $number, 'POST', '/api/v1/metrics/snapshots', $headers, $body) eq '200') {
                    return if -e "$folder/stop";
                    sleep 0.1;
                }
                sleep 0.02;
            }
        });
    }
    in_process('ready', sub {
        my ($file) = @_;
        for (my $number = 1; !-e "$folder/stop"; $number++) {
            timed($file, $number, 'GET', '/readyz', '', undef);
            sleep 0.05;
        }
    });
    1 while wait() > 0;
}

# lines NAME: the words of each line of the file.
sub lines {
    my ($name) = @_;
    open(my $file, '<', "$folder/$name") or die "$folder/$name: $!\n";
    return map { [split] } <$file>;
}

sub figures {
    my $killed = (lines('killed'))[0][0];
    # The old leader may take writes for a moment after it was told to go.
    my ($gone, $new);
    for (grep { $_->[0] > $killed } lines('probe')) {
        $gone //= $_->[0] if $_->[1] eq 'no';
        $new //= $_->[0] if $_->[1] eq 'ok' && defined $gone;
    }
    die "there was no new leader\n" if defined $gone && !defined $new;
    $new //= $killed;

    my (%statuses, %acknowledged, @times, $longest, $slowest);
    my $last = 0;
    for my $client (1 .. $clients) {
        my $back;
        for (lines("client-$client")) {
            my ($begin, $end, $status, $number) = @$_;
            $statuses{$status}++;
            $longest = $end - $begin if $end - $begin > ($longest // 0);
            next if $status ne '200';
            push @times, $end;
            $acknowledged{"client-$client $number"} = 1;
            $back //= $end if $end >= $new;
        }
        die "client $client never wrote again\n" if !defined $back;
        $slowest = $back if $back > ($slowest // 0);
    }
    @times = sort { $a <=> $b } @times;
    my ($before, $after) = ($times[0], $times[0]);
    for (1 .. $#times) {
        ($before, $after) = @times[$_ - 1, $_] if $times[$_] - $times[$_ - 1] > $after - $before;
    }
    my ($out, $in);
    for (grep { $_->[0] > $killed } lines('ready')) {
        $out //= $_->[1] if $_->[2] ne '200';
        undef $in if $_->[2] ne '200';
        $in //= $_->[1] if defined $out && $_->[2] eq '200';
    }
    my %rows = map { ("$_->[0] $_->[1]" => $_->[2]) } lines('rows');
    my @missing = grep { !$rows{$_} } sort keys %acknowledged;
    my @twice = grep { $rows{$_} > 1 } sort keys %rows;

    printf "no leader took writes for %.1f s\n", defined $gone ? $new - $gone : 0;
    printf "no write was acknowledged for %.1f s\n", $after - $before;
    printf "the first write after the new leader's was acknowledged %.1f s after it, the last client's first %.1f s\n",
      (grep { $_ >= $new } @times)[0] - $new, $slowest - $new;
    die "it was never ready again\n" if defined $out && !defined $in;
    if (defined $out) {
        printf "not ready %.1f s after the leader was told to go, ready again %.1f s after the new one took writes\n",
          $out - $killed, $in - $new;
    } else {
        print "ready all the time\n";
    }
    printf "the longest request took %.1f s\n", $longest;
    print 'requests by status (000: no answer): ', join(', ', map { "$_: $statuses{$_}" } sort keys %statuses), "\n";
    printf "%d writes were acknowledged: %d of them are missing, %d are there twice\n", scalar keys %acknowledged,
      scalar @missing, scalar @twice;
    my @refused = grep { /^4/ } keys %statuses;
    print "refused as the client's own fault: @refused\n" if @refused;
    exit(@missing || @twice || @refused || $slowest - $new > $ENV{LIMIT} ? 1 : 0);
}

$verb eq 'load' ? load() : figures();
