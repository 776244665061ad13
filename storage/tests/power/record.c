/*
 * Records what a process does to the files under one directory: a library to preload.
 *
 * Compiled and loaded by recorder.rs, read by disk.rs. It stands between the program and the C
 * library, so it sees SQLite, Rust's standard library and everything else alike. Each call is
 * made and logged under one mutex, so the log has them in the order in which they took effect;
 * a sync is logged twice, when it begins and when it has succeeded, since other threads write
 * meanwhile. A sync only takes time (POWER_DELAY microseconds at most): the disk is imagined.
 *
 * POWER_DIR: the directory, absolute and without links. POWER_LOG: where to log.
 * A record: kind, two numbers of 8 bytes, the length of what follows in 4, and that.
 *
 * Calls that would change a file unseen end the process, so that a new way of writing does not
 * go unnoticed. Not logged: memory that is mapped, which SQLite uses for the -shm file only.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define MOST_FILES 4096

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int log_fd = -1;
static char directory[4096];
static size_t directory_length;
static unsigned delay;
static uint64_t last_sync;
static uint64_t seed = 88172645463325252u;
static ino_t files[MOST_FILES];
static size_t file_count;

static void *real_of(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) abort();
    return found;
}

/* The C library's own. */
#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = (type (*)(__VA_ARGS__))real_of(name)

static ssize_t real_write(int fd, const void *data, size_t length) {
    REAL(ssize_t, "write", int, const void *, size_t);
    return real(fd, data, length);
}

static void unseen(const char *call) {
    char text[200];
    int length = snprintf(text, sizeof text, "record.c: %s changes a file unseen\n", call);
    real_write(2, text, (size_t)length);
    abort();
}

__attribute__((constructor)) static void start(void) {
    const char *where = getenv("POWER_DIR"), *to = getenv("POWER_LOG");
    const char *time = getenv("POWER_DELAY");
    if (!where || !to || strlen(where) >= sizeof directory) return;
    REAL(int, "open64", const char *, int, ...);
    log_fd = real(to, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log_fd < 0) unseen("a log that cannot be opened");
    strcpy(directory, where);
    directory_length = strlen(where);
    delay = time ? (unsigned)atoi(time) : 0;
}

static void put(char kind, uint64_t a, uint64_t b, const void *data, uint32_t length) {
    unsigned char head[21];
    head[0] = (unsigned char)kind;
    memcpy(head + 1, &a, 8);
    memcpy(head + 9, &b, 8);
    memcpy(head + 17, &length, 4);
    if (real_write(log_fd, head, sizeof head) != (ssize_t)sizeof head) abort();
    const char *rest = data;
    while (length > 0) {
        ssize_t written = real_write(log_fd, rest, length);
        if (written <= 0) abort();
        rest += written;
        length -= (uint32_t)written;
    }
}

static void put_text(char kind, uint64_t a, const char *text) {
    put(kind, a, 0, text, (uint32_t)strlen(text));
}

static void put_two(char kind, const char *from, const char *to) {
    char both[8400];
    size_t a = strlen(from) + 1, b = strlen(to);
    if (a + b > sizeof both) abort();
    memcpy(both, from, a);
    memcpy(both + a, to, b);
    put(kind, 0, 0, both, (uint32_t)(a + b));
}

static int is_under(const char *path) {
    return log_fd >= 0 && path && strncmp(path, directory, directory_length) == 0 &&
           (path[directory_length] == '/' || path[directory_length] == 0);
}

static int is_there(const char *path) {
    struct stat found;
    return lstat(path, &found) == 0;
}

/* The number of a file that was opened under the directory; 0 of any other. */
static ino_t watched(int fd) {
    struct stat found;
    if (log_fd < 0 || fd == log_fd || fstat(fd, &found) != 0 || !S_ISREG(found.st_mode)) return 0;
    for (size_t n = 0; n < file_count; n++)
        if (files[n] == found.st_ino) return found.st_ino;
    return 0;
}

/* Under which name a file was opened, or what it has become. */
static void path_of(int fd, char *path, size_t size) {
    char link[40];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, size - 1);
    path[length > 0 ? length : 0] = 0;
}

static int opened(int fd, const char *path, int flags, int was_there) {
    struct stat found;
    if (fd < 0 || fstat(fd, &found) != 0 || !S_ISREG(found.st_mode)) return fd;
    size_t n = 0;
    while (n < file_count && files[n] != found.st_ino) n++;
    if (n == file_count) {
        if (file_count == MOST_FILES) unseen("opening so many files");
        files[file_count++] = found.st_ino;
    }
    if (!was_there)
        put_text('C', found.st_ino, path);
    else if (flags & O_TRUNC)
        put('T', found.st_ino, 0, "", 0);
    return fd;
}

/* The rights of a new file: named only where one may be made. */
#define MODE \
    mode_t mode = 0; \
    if (flags & (O_CREAT | O_TMPFILE)) { \
        va_list rest; \
        va_start(rest, flags); \
        mode = va_arg(rest, mode_t); \
        va_end(rest); \
    }

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        MODE \
        REAL(int, #name, const char *, int, ...); \
        if (!is_under(path)) return real(path, flags, mode); \
        pthread_mutex_lock(&mutex); \
        int was_there = is_there(path); \
        int fd = opened(real(path, flags, mode), path, flags, was_there); \
        int error = errno; \
        pthread_mutex_unlock(&mutex); \
        errno = error; \
        return fd; \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
    int name(int at, const char *path, int flags, ...) { \
        MODE \
        REAL(int, #name, int, const char *, int, ...); \
        if (is_under(path) && (flags & (O_WRONLY | O_RDWR))) unseen(#name); \
        return real(at, path, flags, mode); \
    }
OPENAT(openat)
OPENAT(openat64)

/* Where `length` bytes ended up that were just written. */
static uint64_t start_of(int fd, ssize_t length) {
    return (uint64_t)(lseek(fd, 0, SEEK_CUR) - length);
}

ssize_t write(int fd, const void *data, size_t length) {
    ino_t file = watched(fd);
    if (!file) return real_write(fd, data, length);
    pthread_mutex_lock(&mutex);
    ssize_t written = real_write(fd, data, length);
    int error = errno;
    if (written > 0) put('W', file, start_of(fd, written), data, (uint32_t)written);
    pthread_mutex_unlock(&mutex);
    errno = error;
    return written;
}

#define PWRITE(name, off) \
    ssize_t name(int fd, const void *data, size_t length, off at) { \
        REAL(ssize_t, #name, int, const void *, size_t, off); \
        ino_t file = watched(fd); \
        if (!file) return real(fd, data, length, at); \
        pthread_mutex_lock(&mutex); \
        ssize_t written = real(fd, data, length, at); \
        int error = errno; \
        if (written > 0) put('W', file, (uint64_t)at, data, (uint32_t)written); \
        pthread_mutex_unlock(&mutex); \
        errno = error; \
        return written; \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(ssize_t, "writev", int, const struct iovec *, int);
    if (!watched(fd)) return real(fd, parts, count);
    return count > 0 ? write(fd, parts[0].iov_base, parts[0].iov_len) : 0;
}

/* For calls that only a watched file makes unseen. */
#define REFUSE(name, type, fd, parameters, arguments, ...) \
    type name parameters { \
        REAL(type, #name, __VA_ARGS__); \
        if (watched(fd)) unseen(#name); \
        return real arguments; \
    }
REFUSE(pwritev, ssize_t, fd, (int fd, const struct iovec *p, int n, off_t at), (fd, p, n, at),
       int, const struct iovec *, int, off_t)
REFUSE(pwritev64, ssize_t, fd, (int fd, const struct iovec *p, int n, off64_t at), (fd, p, n, at),
       int, const struct iovec *, int, off64_t)
REFUSE(copy_file_range, ssize_t, to,
       (int from, off64_t *a, int to, off64_t *b, size_t n, unsigned f), (from, a, to, b, n, f),
       int, off64_t *, int, off64_t *, size_t, unsigned)
REFUSE(sendfile64, ssize_t, to, (int to, int from, off64_t *at, size_t n), (to, from, at, n),
       int, int, off64_t *, size_t)
REFUSE(sendfile, ssize_t, to, (int to, int from, off_t *at, size_t n), (to, from, at, n),
       int, int, off_t *, size_t)
REFUSE(syncfs, int, fd, (int fd), (fd), int)

/* Room that is made before it is written to: the file is longer, nothing else. */
#define ALLOCATE(name, off, parameters, arguments, ...) \
    int name parameters { \
        REAL(int, #name, __VA_ARGS__); \
        if (!watched(fd)) return real arguments; \
        pthread_mutex_lock(&mutex); \
        int failed = real arguments; \
        int error = errno; \
        struct stat now; \
        if (!failed && fstat(fd, &now) == 0) put('T', now.st_ino, (uint64_t)now.st_size, "", 0); \
        pthread_mutex_unlock(&mutex); \
        errno = error; \
        return failed; \
    }
ALLOCATE(ftruncate, off_t, (int fd, off_t size), (fd, size), int, off_t)
ALLOCATE(ftruncate64, off64_t, (int fd, off64_t size), (fd, size), int, off64_t)
ALLOCATE(fallocate, off_t, (int fd, int mode, off_t at, off_t n), (fd, mode, at, n),
         int, int, off_t, off_t)
ALLOCATE(fallocate64, off64_t, (int fd, int mode, off64_t at, off64_t n), (fd, mode, at, n),
         int, int, off64_t, off64_t)
ALLOCATE(posix_fallocate, off_t, (int fd, off_t at, off_t n), (fd, at, n), int, off_t, off_t)
ALLOCATE(posix_fallocate64, off64_t, (int fd, off64_t at, off64_t n), (fd, at, n),
         int, off64_t, off64_t)

static int synced(int fd) {
    struct stat found;
    char path[4096] = "";
    if (log_fd < 0 || fstat(fd, &found) != 0) return 0;
    int is_directory = S_ISDIR(found.st_mode);
    if (is_directory) {
        path_of(fd, path, sizeof path);
        if (!is_under(path)) return 0;
    } else if (!watched(fd)) {
        return 0;
    }
    pthread_mutex_lock(&mutex);
    uint64_t number = ++last_sync;
    put(is_directory ? 'b' : 'B', found.st_ino, number, path, (uint32_t)strlen(path));
    seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
    unsigned wait = delay ? (unsigned)(seed % delay) : 0;
    pthread_mutex_unlock(&mutex);
    usleep(wait);
    pthread_mutex_lock(&mutex);
    put('E', found.st_ino, number, "", 0);
    pthread_mutex_unlock(&mutex);
    return 0;
}

int fsync(int fd) { return synced(fd); }
int fdatasync(int fd) { return synced(fd); }

/* Changes of names: `made` is what the C library does. */
#define NAMES(kind, made) \
    pthread_mutex_lock(&mutex); \
    int failed = made; \
    int error = errno; \
    if (!failed) kind; \
    pthread_mutex_unlock(&mutex); \
    errno = error; \
    return failed

int unlink(const char *path) {
    REAL(int, "unlink", const char *);
    if (!is_under(path)) return real(path);
    NAMES(put_text('U', 0, path), real(path));
}

int rename(const char *from, const char *to) {
    REAL(int, "rename", const char *, const char *);
    if (!is_under(from) && !is_under(to)) return real(from, to);
    NAMES(put_two('R', from, to), real(from, to));
}

int linkat(int a, const char *from, int b, const char *to, int flags) {
    REAL(int, "linkat", int, const char *, int, const char *, int);
    if (!is_under(from) && !is_under(to)) return real(a, from, b, to, flags);
    NAMES(put_two('L', from, to), real(a, from, b, to, flags));
}

int link(const char *from, const char *to) {
    return linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int mkdir(const char *path, mode_t mode) {
    REAL(int, "mkdir", const char *, mode_t);
    if (!is_under(path)) return real(path, mode);
    NAMES(put_text('D', 0, path), real(path, mode));
}

int renameat(int a, const char *from, int b, const char *to) {
    REAL(int, "renameat", int, const char *, int, const char *);
    if (is_under(from) || is_under(to)) unseen("renameat");
    return real(a, from, b, to);
}

int renameat2(int a, const char *from, int b, const char *to, unsigned flags) {
    REAL(int, "renameat2", int, const char *, int, const char *, unsigned);
    if (is_under(from) || is_under(to)) unseen("renameat2");
    return real(a, from, b, to, flags);
}

int unlinkat(int at, const char *path, int flags) {
    REAL(int, "unlinkat", int, const char *, int);
    if (is_under(path)) unseen("unlinkat");
    return real(at, path, flags);
}

void *mmap64(void *at, size_t length, int protection, int flags, int fd, off64_t offset) {
    REAL(void *, "mmap64", void *, size_t, int, int, int, off64_t);
    if ((flags & MAP_SHARED) && (protection & PROT_WRITE) && watched(fd)) {
        char path[4096];
        path_of(fd, path, sizeof path);
        char *end = strstr(path, " (deleted)");
        if (end) *end = 0;
        size_t size = strlen(path);
        if (size < 4 || strcmp(path + size - 4, "-shm") != 0) unseen("mmap");
    }
    return real(at, length, protection, flags, fd, offset);
}
