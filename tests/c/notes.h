/* Notes: what callbacks on several threads write down, and the test reads. */
#ifndef NOTES_H
#define NOTES_H

#include "check.h"

#include <stdarg.h>

typedef struct notes {
    pthread_mutex_t mutex;
    char text[8192];
} notes;

/* Notes with nothing in them. */
HELPER void notes_init(notes *notes)
{
    pthread_mutex_t unlocked = PTHREAD_MUTEX_INITIALIZER;
    notes->mutex = unlocked;
    notes->text[0] = '\0';
}

/* Writes down what printf would print. */
HELPER void note(notes *notes, const char *format, ...)
{
    size_t len;
    va_list arguments;
    va_start(arguments, format);
    pthread_mutex_lock(&notes->mutex);
    len = strlen(notes->text);
    vsnprintf(notes->text + len, sizeof notes->text - len, format, arguments);
    pthread_mutex_unlock(&notes->mutex);
    va_end(arguments);
}

/* Whether this is among the notes. */
HELPER int notes_have(notes *notes, const char *part)
{
    int found;
    pthread_mutex_lock(&notes->mutex);
    found = strstr(notes->text, part) != NULL;
    if (!found)
        printf("# not noted: %s; but:\n%s\n", part, notes->text);
    pthread_mutex_unlock(&notes->mutex);
    return found;
}

/* Whether the notes are these and nothing else; then they begin anew. */
HELPER int notes_were(notes *notes, const char *text)
{
    int right;
    pthread_mutex_lock(&notes->mutex);
    right = strcmp(notes->text, text) == 0;
    if (!right)
        printf("# noted is: %s\n", notes->text);
    notes->text[0] = '\0';
    pthread_mutex_unlock(&notes->mutex);
    return right;
}

#endif
