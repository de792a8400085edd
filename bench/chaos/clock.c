/* Moves the wall clock that one process sees, by so many seconds as STEPPED_CLOCK, a file of 8 bytes, says at present.
   Preloaded (ld.so(8)); the clock is read by many threads at once, so there is one word and nothing to be parsed.
   Without any header, so that the smallest compiler will do. Of 64-bit Linux. */

struct timespec { long seconds, nanoseconds; };
struct timeval { long seconds, microseconds; };

extern void *dlsym(void *, const char *);
extern char *getenv(const char *);
extern int open(const char *, int, ...);
extern void *mmap(void *, unsigned long, int, int, int, long);

static int (*real)(int, struct timespec *);
static volatile long *offset;

static void begin(void)
{
    /* In the first reading, which the interpreter makes before it has a second thread. */
    const char *path = getenv("STEPPED_CLOCK");
    int file = path ? open(path, 02000000 /* O_CLOEXEC */) : -1;
    void *found = file < 0 ? (void *)-1 : mmap(0, 8, 1 /* PROT_READ */, 1 /* MAP_SHARED */, file, 0);
    if (found != (void *)-1)
        offset = found;
    real = (int (*)(int, struct timespec *))dlsym((void *)-1 /* RTLD_NEXT */, "clock_gettime");
}

int clock_gettime(int clock, struct timespec *now)
{
    if (!real)
        begin();
    int result = real(clock, now);
    if (!result && offset && (clock == 0 /* CLOCK_REALTIME */ || clock == 5 /* CLOCK_REALTIME_COARSE */))
        now->seconds += *offset;
    return result;
}

int gettimeofday(struct timeval *now, void *zone)
{
    struct timespec exact;
    int result = clock_gettime(0, &exact);
    now->seconds = exact.seconds;
    now->microseconds = exact.nanoseconds / 1000;
    return result;
}

long time(long *seconds)
{
    struct timespec exact;
    clock_gettime(0, &exact);
    if (seconds)
        *seconds = exact.seconds;
    return exact.seconds;
}
