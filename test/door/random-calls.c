/*
 * random-calls SEED CALLS THREADS PROCESSES: random calls from everywhere at once. Checks that
 * memory which no call names stays as it is, and that the platform still answers afterwards.
 *
 * Prints one line: how calls ended, by error number. Exit status 1: something did not hold.
 */
#include "random-calls.h"

#include <pthread.h>

#define CANARY_PAGES 32u

static struct files files;
static unsigned long calls;

static void *thread(void *argument)
{
	struct random *random = argument;

	for (unsigned long i = 0; i < calls; i++)
		random_call(random);
	return NULL;
}

/* Memory that no call is told of, with a pattern. */
static unsigned char *new_canary(void)
{
	unsigned char *canary = mmap(NULL, CANARY_PAGES * PAGE, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	expect(canary != MAP_FAILED, "there is memory");
	for (unsigned int i = 0; i < CANARY_PAGES * PAGE; i++)
		canary[i] = i * 31 >> 3;
	return canary;
}

static void check_canary(const unsigned char *canary)
{
	for (unsigned int i = 0; i < CANARY_PAGES * PAGE; i++)
		expect(canary[i] == (unsigned char)(i * 31 >> 3), "memory that was not named is as before");
}

static void still_answers(void)
{
	int fd = must(open("/dev/iommu", O_RDWR | O_CLOEXEC), "/dev/iommu at the end");

	expect(new_space(fd) == 1, "a new file is empty");
	close(fd);
}

static int one_process(uint64_t seed, unsigned int threads, int out)
{
	unsigned char *canary = new_canary();
	struct random *state = calloc(threads, sizeof(*state));
	pthread_t *ids = calloc(threads, sizeof(*ids));
	unsigned long endings[256] = { 0 };

	open_files(&files);
	for (unsigned int i = 0; i < threads; i++) {
		state[i] = (struct random){ .state = seed + i, .arena = new_arena(), .files = &files };
		expect(pthread_create(&ids[i], NULL, thread, &state[i]) == 0, "a thread starts");
	}
	for (unsigned int i = 0; i < threads; i++) {
		pthread_join(ids[i], NULL);
		for (unsigned int code = 0; code < 256; code++)
			endings[code] += state[i].endings[code];
	}
	check_canary(canary);
	still_answers();
	must(write(out, endings, sizeof(endings)), "the counts");
	return 0;
}

int main(int count, char **arguments)
{
	unsigned long sum[256] = { 0 }, endings[256];
	int results[2], status, bad = 0;

	if (count < 5)
		return 2;
	uint64_t seed = strtoull(arguments[1], NULL, 0);
	calls = strtoul(arguments[2], NULL, 0);
	unsigned int threads = atoi(arguments[3]), processes = atoi(arguments[4]);
	must(pipe(results), "pipe");
	for (unsigned int i = 0; i < processes; i++) {
		if (must(fork(), "fork") == 0)
			exit(one_process(seed + i * 1000003ull, threads, results[1]));
	}
	close(results[1]);
	while (read(results[0], endings, sizeof(endings)) == sizeof(endings))
		for (unsigned int code = 0; code < 256; code++)
			sum[code] += endings[code];
	while (wait(&status) > 0)
		bad |= !WIFEXITED(status) || WEXITSTATUS(status) != 0;
	printf("ok %lu", sum[0]);
	for (unsigned int code = 1; code < 256; code++)
		if (sum[code] > 0)
			printf(", %s %lu", strerrorname_np(code) ? strerrorname_np(code) : "?", sum[code]);
	printf("\n");
	return bad;
}
