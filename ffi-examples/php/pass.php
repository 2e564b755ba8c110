<?php

// Passes files from one process to another; ../README.md says what it does.
//
// SPDX-License-Identifier: MIT OR Apache-2.0

declare(strict_types=1);

require __DIR__ . '/ancillary.php';

use Ancillary\{Creds, Descriptor, Failure, Socket};
use const Ancillary\{O_CREAT, O_EXCL, O_RDWR, REPLACE, WAITALL};

const ROOM = 65536;
const USAGE = <<<'END'
    Usage: pass send SOCKET N [PAYLOAD]
           pass recv SOCKET MAX [TIMES]
           pass creds SOCKET [TIMES]
           pass peer SOCKET

    END;

// Does something whose failure ends nothing else.
function attempt(callable $action): void
{
    global $command, $failed;
    try {
        $action();
        return;
    } catch (Failure $problem) {
        $why = $problem->reason;
    } catch (RuntimeException $problem) {
        $why = $problem->getMessage();
    }
    fwrite(STDERR, "$command: $why\n");
    $failed = true;
}

function unnamed_file(string $content): Descriptor
{
    $name = sys_get_temp_dir() . '/' . bin2hex(random_bytes(16));
    $file = Descriptor::open($name, O_RDWR | O_CREAT | O_EXCL);
    unlink($name);
    $stream = $file->stream();
    fwrite($stream, $content);
    // Both have the same position in the file.
    rewind($stream);
    return $file;
}

function send_on(Socket $socket, int $count, string $payload): void
{
    $files = [];
    for ($i = 1; $i <= $count; $i++) {
        $files[] = unnamed_file(sprintf("file %d of %d, made by %d\n", $i, $count, getmypid()));
    }
    $size = $count > 0 ? $socket->sendFds($files, $payload) : $socket->sendCreds($payload);
    unset($files);
    $socket->close();
    echo "sent $count descriptors, $size bytes\n";
}

function send(string $path, int $count, string $payload = ''): void
{
    if ($payload !== '-') {
        send_on(Socket::connect($path), $count, $payload);
        return;
    }
    while (true) {
        $socket = Socket::connect($path);
        $line = fgets(STDIN);
        if ($line === false) {
            return;
        }
        attempt(fn () => send_on($socket, $count, preg_replace('/\n\z/', '', $line)));
        unset($socket);
    }
}

// Accepts connections and does something with each.
function serve(string $path, int $times, callable $action): void
{
    $listener = Socket::listen($path, 0600, REPLACE);
    try {
        for ($i = 0; $i < $times; $i++) {
            $socket = $listener->accept();
            echo "accepted\n";
            attempt(fn () => $action($socket));
            $socket->close();
            echo "done\n";
        }
    } finally {
        unlink($path);
    }
}

function recv(string $path, int $max, int $times = 1): void
{
    serve($path, $times, function (Socket $socket) use ($max) {
        [$payload, $files] = $socket->recvFds($max, ROOM, WAITALL);
        if ($payload === '') {
            throw new RuntimeException('The peer has closed');
        }
        printf("received %d descriptors, %d bytes\n", count($files), strlen($payload));
        echo "payload: $payload\n";
        foreach ($files as $file) {
            echo stream_get_contents($file->stream());
        }
    });
}

function words(Creds $creds): string
{
    return "pid $creds->pid uid $creds->uid gid $creds->gid";
}

function creds(string $path, int $times = 1): void
{
    serve($path, $times, function (Socket $socket) {
        $socket->setPasscred();
        [$payload, $creds] = $socket->recvCreds(ROOM);
        if ($payload === '') {
            throw new RuntimeException('The peer has closed');
        }
        printf("%s, %d bytes\n", words($creds), strlen($payload));
        echo "payload: $payload\n";
    });
}

function peer(string $path): void
{
    echo words(Socket::connect($path)->peerCreds()), "\n";
}

// How many arguments a command takes at the least and at the most.
const COMMANDS = ['send' => [2, 3], 'recv' => [2, 3], 'creds' => [1, 2], 'peer' => [1, 1]];

$command = $argv[1] ?? '';
$arguments = array_slice($argv, 2);
$failed = false;
[$least, $most] = COMMANDS[$command] ?? [0, -1];
$valid = count($arguments) >= $least && count($arguments) <= $most;
foreach ($arguments as $i => &$argument) {
    if ($i > 0 && !($command === 'send' && $i === 2)) {
        $valid = $valid && ctype_digit($argument);
        $argument = (int) $argument;
    }
}
unset($argument);
if (!$valid) {
    fwrite(STDERR, USAGE);
    exit(2);
}
attempt(fn () => $command(...$arguments));
exit($failed ? 1 : 0);
