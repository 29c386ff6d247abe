/* How many processors this process may use: its affinity mask, and the quotas of its control
 * groups. */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* sched_getaffinity and its macros, sched_getcpu */
#endif

#include "pool.h"

#include <stdint.h>

#ifdef _WIN32
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#else
#include <unistd.h>
#ifdef __linux__
#include <sched.h>
#include <stdio.h>
#include <string.h>
#endif
#endif

#include "../debug.h"

int cc_pool_affinity_cpus(void)
{
    long count = 0;
#ifdef _WIN32
    DWORD_PTR ours, all;
    if (GetProcessAffinityMask(GetCurrentProcess(), &ours, &all) && ours != all)
        for (; ours; ours &= ours - 1) /* both are 0 for a process in several groups */
            count++;
    else
        count = (long)GetActiveProcessorCount(ALL_PROCESSOR_GROUPS);
#else
#ifdef __linux__
    cpu_set_t mask[8];
    memset(mask, 0, sizeof mask);
    if (!sched_getaffinity(0, sizeof mask, mask))
        count = CPU_COUNT_S(sizeof mask, mask);
#endif
    if (count < 1)
        count = sysconf(_SC_NPROCESSORS_ONLN);
#endif
    return count < 1 ? 1 : count < INT32_MAX ? (int)count : INT32_MAX;
}

#ifdef __linux__

/* The numbers that a file begins with; "max" and -1, which mean no limit, give none. */
static int read_numbers(const char *path, long long *numbers, int count)
{
    FILE *file = fopen(path, "r");
    int found = 0;
    if (!file)
        return 0;
    while (found < count && fscanf(file, "%lld", &numbers[found]) == 1 && numbers[found] > 0)
        found++;
    fclose(file);
    return found;
}

/* The processors' worth of time that a group may use, rounded up; `most` where it may use more. */
static int group_cpus(const char *group, int version, int most)
{
    char path[4400];
    long long quota[2]; /* microseconds of processor time, and the period that they are for */
    int found;
    if (version == 2) {
        snprintf(path, sizeof path, "%s/cpu.max", group);
        found = read_numbers(path, quota, 2);
    } else {
        snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", group);
        found = read_numbers(path, &quota[0], 1);
        snprintf(path, sizeof path, "%s/cpu.cfs_period_us", group);
        found += read_numbers(path, &quota[1], found);
    }
    if (found < 2)
        return most;
    const long long cpus = quota[0] / quota[1] + (quota[0] % quota[1] != 0);
    return cpus < most ? (int)cpus : most;
}

/* The lowest quota on the way from this process's groups up to the roots. In a container the
 * path may be the host's, which is not there to be read, but the root then is the container. */
static int quota_cpus(const char *groups, const char *mounts, int most)
{
    char line[4200], group[4300];
    FILE *file = fopen(groups, "r");
    if (!file)
        return most;
    while (fgets(line, sizeof line, file)) { /* 0::/path, or 4:cpu,cpuacct:/path */
        char *controllers = strchr(line, ':');
        char *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path)
            continue;
        *controllers = *path = ','; /* each name then stands between two commas */
        const int version = path == controllers + 1 ? 2 : 1;
        char *const cpu = strstr(controllers, ",cpu,");
        if (version == 1 && (!cpu || cpu >= path))
            continue;
        path++;
        path[strcspn(path, "\n")] = '\0';
        for (size_t length = strlen(path);; path[length] = '\0') {
            snprintf(group, sizeof group, "%s%s%s", mounts, version == 2 ? "" : "/cpu", path);
            most = group_cpus(group, version, most);
            if (!length)
                break;
            while (path[--length] != '/' && length) {}
        }
    }
    fclose(file);
    return most;
}

#endif

int cc_pool_cpus(void)
{
    const int cpus = cc_pool_affinity_cpus();
#ifdef __linux__
    return quota_cpus("/proc/self/cgroup", "/sys/fs/cgroup", cpus);
#else
    return cpus;
#endif
}
