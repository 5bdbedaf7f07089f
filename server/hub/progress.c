#include "server/hub/progress.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "server/clock.h"

enum { REDRAW_US = 100000, LINE_US = 10000000, BAR_MAX = 40, WIDTH_MAX = 200 };

const char *progress_size(int64_t bytes, char to[PROGRESS_SIZE_BYTES])
{
    static const char *const units[] = {"kB", "MB", "GB", "TB"};
    double value = (double)bytes / 1000;
    size_t unit = 0;
    while (value >= 999.5 && unit + 1 < sizeof units / sizeof *units) {
        value /= 1000;
        unit++;
    }
    if (bytes < 1000)
        snprintf(to, PROGRESS_SIZE_BYTES, "%lld bytes", (long long)bytes);
    else
        snprintf(to, PROGRESS_SIZE_BYTES, value < 9.95 ? "%.1f %s" : "%.0f %s", value,
                 units[unit]);
    return to;
}

static size_t terminal_width(void)
{
    struct winsize w;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &w) != 0 || w.ws_col < 20)
        return 80;
    return w.ws_col < WIDTH_MAX ? w.ws_col : WIDTH_MAX;
}

/* "  12.3 MB/s  0:11 left", or nothing while it can't be known. */
static void write_speed(const struct progress *p, uint64_t now, char *to, size_t cap)
{
    char speed[PROGRESS_SIZE_BYTES];
    double seconds = (double)(now - p->began_us) * 1e-6;
    double rate = seconds > 0.2 ? (double)(p->at - p->from) / seconds : 0;
    to[0] = '\0';
    if (rate < 1)
        return;
    double left = (double)(p->size - p->at) / rate;
    if (left > 359999)
        left = 359999;
    snprintf(to, cap, "  %s/s  %d:%02d left", progress_size((int64_t)rate, speed),
             (int)left / 60, (int)left % 60);
}

static void draw(struct progress *p, uint64_t now)
{
    char line[WIDTH_MAX + 1], bar[BAR_MAX + 1], at[PROGRESS_SIZE_BYTES];
    char size[PROGRESS_SIZE_BYTES], speed[64];
    size_t width = terminal_width() - 1, bar_n = width / 4;
    double done = p->size > 0 ? (double)p->at / (double)p->size : 1;
    if (bar_n > BAR_MAX)
        bar_n = BAR_MAX;
    memset(bar, ' ', bar_n);
    memset(bar, '#', (size_t)(done * (double)bar_n));
    bar[bar_n] = '\0';
    write_speed(p, now, speed, sizeof speed);
    snprintf(line, sizeof line, "%s [%s] %3d%%  %s of %s%s", p->file, bar,
             (int)(done * 100), progress_size(p->at, at), progress_size(p->size, size),
             speed);
    fprintf(stderr, "\r%-*.*s", (int)width, (int)width, line);
    fflush(stderr);
    p->drawn = true;
    p->drawn_us = now;
}

static void write_line(struct progress *p, uint64_t now)
{
    char at[PROGRESS_SIZE_BYTES], size[PROGRESS_SIZE_BYTES], speed[64];
    write_speed(p, now, speed, sizeof speed);
    fprintf(stderr, "%s: %s of %s%s\n", p->file, progress_size(p->at, at),
            progress_size(p->size, size), speed);
    p->drawn_us = now;
}

void progress_begin(struct progress *p, const char *file, int64_t size)
{
    *p = (struct progress){.file = file, .size = size, .began_us = clock_us()};
    p->drawn_us = p->began_us;
    p->terminal = isatty(STDERR_FILENO) == 1;
}

void progress_move(struct progress *p, int64_t at, bool fresh)
{
    uint64_t now = clock_us();
    p->at = at;
    if (!fresh) {
        p->from = at;
        p->began_us = now;
    }
    if (p->terminal && now - p->drawn_us >= REDRAW_US)
        draw(p, now);
    else if (!p->terminal && now - p->drawn_us >= LINE_US)
        write_line(p, now);
}

void progress_note(struct progress *p, const char *fmt, ...)
{
    va_list args;
    if (p->drawn)
        fputc('\n', stderr);
    p->drawn = false;
    fprintf(stderr, "%s: ", p->file);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
}

void progress_end(struct progress *p, bool complete)
{
    char size[PROGRESS_SIZE_BYTES];
    if (p->terminal && complete)
        draw(p, clock_us());
    if (p->drawn)
        fputc('\n', stderr);
    else if (complete)
        fprintf(stderr, "%s: %s\n", p->file, progress_size(p->size, size));
}
